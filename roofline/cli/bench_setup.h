// The configurations that one benchmark compares (quantization × threads ×
// device), each run in a process of its own: so every one starts cold, has its
// own threads, and its peak memory is its own. They take turns line by line.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "roofline/base/child_process.h"
#include "roofline/cli/options.h"
#include "roofline/model/decoder.h"
#include "roofline/plan/bench.h"
#include "roofline/plan/settings.h"

namespace roofline::cli {

struct BenchSetup {
  std::string model;
  std::string quant = "none";
  std::optional<int> group_size;
  std::optional<std::string> eight_bit;  ///< parts, with int4
  KvFlags kv;
  std::optional<int> threads;
  std::string device = "auto";
  bool exact = false;
  bool no_cache = false;
  /// As ROOFLINE_ISA; empty: the best that there is.
  std::string isa;
  /// MLX's own limits of memory.
  std::optional<std::int64_t> cache_limit_bytes;
  std::optional<std::int64_t> wired_limit_bytes;
  /// Answers to this file's text are timed rather than synthetic ids, with so
  /// many tokens looked up.
  std::string prompt_file;
  std::optional<int> prompt_lookup;
  DraftFlags draft;
  /// How the next tokens are drawn; nothing given: the likeliest are taken.
  SamplingFlags sampling;

  /// "int4, 2 threads, cpu": what was given.
  std::string label() const;
  /// Nothing given: nullopt. Throws UserError.
  std::optional<SamplingOptions> drawn() const;
  /// As stored: nullopt. Throws UserError.
  std::optional<QuantizeChoice> quantize() const;
  /// prompt_lookup and num_draft_tokens. Throws UserError.
  GenerateOptions guessing() const;
  /// Takes over what settings say of it.
  void take(const RunSettings& settings);
};

/// What a configuration's process told of itself.
struct SetupFacts {
  std::string device;
  std::optional<int> cpu_threads;  ///< absent on a GPU
  double load_seconds = 0;  ///< from the process's start to a loaded model
  /// From the process's start through the first prompt (the first -p) to its
  /// first token, all files in the page cache; absent with random weights and
  /// without a prompt.
  std::optional<double> first_token_seconds;
  int first_prompt_tokens = 0;
  BenchRates rates;
  bool random_weights = false;
  double peak_bytes = 0;  ///< as of the last run
};

/// What takes turns: one of our configurations or a peer's program.
class BenchEngine {
 public:
  virtual ~BenchEngine() = default;
  virtual std::string engine() const = 0;
  virtual std::string setup() const = 0;
  /// Absent where it can't do such a case. Throws UserError when it failed.
  virtual std::optional<BenchSample> measure(const BenchCase& what) = 0;
  /// Threads of the CPU that a case runs on; absent on a GPU and of peers.
  virtual std::optional<int> cpu_threads() const { return std::nullopt; }
  /// Ends it.
  virtual void finish() {}
};

class SetupProcess : public BenchEngine {
 public:
  /// Starts the process and waits until its model is loaded.
  SetupProcess(const BenchSetup& setup, const BenchOptions& options);

  std::string engine() const override { return "roofline"; }
  std::string setup() const override { return setup_.label(); }
  std::optional<BenchSample> measure(const BenchCase& what) override;
  std::optional<int> cpu_threads() const override { return facts_.cpu_threads; }
  void finish() override;
  const SetupFacts& facts() const { return facts_; }
  const BenchSetup& given() const { return setup_; }

 private:
  nlohmann::ordered_json answer();

  BenchSetup setup_;
  BenchOptions options_;
  SetupFacts facts_;
  std::unique_ptr<ChildProcess> child_;
};

/// The other side: loads, says so, and runs cases by their number as they are
/// asked for on standard input.
int run_bench_worker(const BenchSetup& setup, const BenchOptions& options);

}  // namespace roofline::cli
