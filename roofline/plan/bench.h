// What a benchmark measures and what its figures say: cases (prefill or decode,
// length, depth, batch), their samples, the roof over each, and where the time
// went that the roof doesn't explain. Measuring itself is in bench_run.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/plan/speed.h"

namespace roofline {

enum class BenchPhase { prefill, decode };

struct BenchCase {
  BenchPhase phase = BenchPhase::prefill;
  int tokens = 512;        ///< of each sequence
  std::int64_t depth = 0;  ///< tokens in the cache before
  int batch = 1;           ///< sequences in one step

  /// "pp512", "tg128 @ 4096 × 4": llama-bench's short names.
  std::string name() const;
  /// Tokens of all sequences.
  std::int64_t all_tokens() const { return std::int64_t{tokens} * batch; }
};

struct BenchOptions {
  std::vector<int> prompt_tokens = {512};  ///< 0: no prefill
  std::vector<int> decode_tokens = {128};  ///< 0: no decode
  std::vector<int> depths = {0};
  std::vector<int> batches = {1};
  int rounds = 5;
  int prefill_step = 512;
};

/// Throws UserError naming the option and its range.
void validate(const BenchOptions& options);

/// Every combination: by batch, then depth; prefill before decode.
std::vector<BenchCase> bench_cases(const BenchOptions& options);

/// What one configuration can do at most, and what it must move.
struct BenchRates {
  double bytes_per_second = 0;
  double operations_per_second = 0;
  double step_weight_bytes = 0;   ///< that a step of one sequence reads
  double batch_weight_bytes = 0;  ///< that one of several reads, or of a prompt
};

/// One run of a case.
struct BenchSample {
  double seconds = 0;
  /// Of them: between the steps; 0 where steps don't wait for the host.
  double host_seconds = 0;
  std::optional<double> joules;
  /// What memory gave just before and after the run, the mean; on a CPU.
  std::optional<double> bytes_per_second = {};
};

/// One case of one configuration.
struct BenchFigure {
  BenchCase what;
  std::string engine = "roofline";  ///< or a peer's name
  std::string setup;                ///< "int4, 2 threads": what differs
  std::vector<BenchSample> samples;
  double first_seconds = 0;  ///< of the run before the first sample
  PhaseWork work;            ///< of one run; 0 where it isn't known
  double roof_seconds = 0;   ///< 0 where it isn't known
  /// The same with what memory gave beside the runs, which on a shared machine
  /// may be far below the best that was ever measured.
  double roof_seconds_beside = 0;

  std::vector<double> speeds() const;  ///< tokens a second, one a sample
  double speed() const;                ///< their median
  double slow_tail() const;            ///< 95 % of the runs were faster
  double spread() const;               ///< see relative_spread()
  std::optional<double> roof() const;  ///< tokens a second
  std::optional<double> share_of_roof() const;
  /// Of the roof at the bandwidth that was measured beside the runs.
  std::optional<double> share_of_roof_beside() const;
  /// Bytes a second, the median over the samples.
  std::optional<double> bandwidth_beside() const;
  std::optional<double> joules_per_token() const;
  /// first_seconds less the median: what compiling and paging in took.
  double warm_up_seconds() const;
};

/// How a run's median time splits, each as a share of it. Moving weights and KV
/// and the arithmetic that outlasts them take what the roof says; the rest is
/// other memory traffic, waiting and kernels below their peak.
struct TimeShares {
  double weights = 0;
  double kv = 0;
  double arithmetic = 0;
  double host = 0;
  double rest = 0;
};
TimeShares time_shares(const BenchFigure& figure, const BenchRates& rates);

/// Bytes and operations of a case, and the time that they take at least:
/// fills work, roof_seconds and, from the samples, roof_seconds_beside.
void set_roof(
    BenchFigure& figure,
    const PlannedModel& model,
    const BenchRates& rates,
    int prefill_step,
    const KvFormat& kv = {});

/// Of the spread above which a figure is called worthless: half of the runs
/// lie farther than this from the median.
inline constexpr double kWorthlessSpread = 0.05;

nlohmann::ordered_json figure_json(
    const BenchFigure& figure,
    const BenchRates& rates);
/// What figure_json() wrote, as far as comparing needs it. Throws UserError.
BenchFigure figure_from_json(const nlohmann::ordered_json& json);

}  // namespace roofline
