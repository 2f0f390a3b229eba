// The search for the settings with which a model runs best on a machine:
// formats first, then how they are run, by successive halving within a budget
// of time; at the end the winner must beat the defaults in an interleaved
// duel, or the defaults stay. Measuring itself comes in as OptimizeMeasurer.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/plan/planned_model.h"
#include "roofline/plan/quality.h"
#include "roofline/plan/settings.h"
#include "roofline/plan/speed.h"

namespace roofline {

enum class OptimizeGoal { speed, memory, quality };

/// What is timed: an answer to a prompt.
struct Workload {
  int prompt_tokens = 256;
  int decode_tokens = 128;
};

struct OptimizeSample {
  double prefill_seconds = 0;
  double decode_seconds = 0;
  int decode_tokens = 1;  ///< that were run
  std::uint64_t peak_bytes = 0;
  /// Of the whole workload.
  double seconds(const Workload& work) const;
};

class OptimizeMeasurer {
 public:
  virtual ~OptimizeMeasurer() = default;
  /// Runs the prompt and decode_tokens of the answer once. Throws Error when
  /// the settings can't be run.
  virtual OptimizeSample measure(
      const RunSettings& settings,
      const Workload& work,
      int decode_tokens) = 0;
  /// Against the weights as stored; nullopt when it can't be measured.
  virtual std::optional<QualityReport> quality(const RunSettings& settings) = 0;
  /// Frees what it holds for these settings.
  virtual void forget(const RunSettings&) {}
  /// Since the search began.
  virtual double seconds() = 0;
};

struct OptimizeCandidate {
  RunSettings settings;
  double predicted_seconds = 0;  ///< of the workload; 0: not known
  std::uint64_t predicted_bytes = 0;
  std::vector<double> samples;  ///< seconds of the workload
  std::vector<double> prefill_speeds;
  std::vector<double> decode_speeds;
  std::uint64_t peak_bytes = 0;
  std::optional<QualityReport> quality;
  /// Why it is out of the race; empty: it isn't.
  std::string dropped;
  bool on_front = false;

  bool measured() const { return !samples.empty(); }
  double seconds() const;  ///< median; 0 when it wasn't measured
  double prefill_speed() const;
  double decode_speed() const;
  std::uint64_t bytes() const;  ///< measured, else predicted
};

struct OptimizeOptions {
  OptimizeGoal goal = OptimizeGoal::speed;
  Workload work;
  double budget_seconds = 60;
  std::optional<std::uint64_t> max_memory_bytes;
  /// The mean KL divergence, in nats a token, that is still good enough.
  double most_kl = 0.05;
  /// share of the budget used, what is best so far.
  std::function<void(double, std::string_view)> progress;
};

struct OptimizeResult {
  /// [0]: the defaults.
  std::vector<OptimizeCandidate> candidates;
  std::size_t choice = 0;
  /// Defaults' time over the choice's in the duel; 1 when they stay.
  double speedup = 1;
  double speedup_low = 1;  ///< 95 % interval
  double speedup_high = 1;
  std::string why;  ///< two sentences
  double used_seconds = 0;
};

/// formats: ways to store the weights, the defaults first; ways: ways to run
/// (each without a format), tried with the format that won. The defaults'
/// settings are formats[0].
OptimizeResult optimize(
    std::vector<OptimizeCandidate> formats,
    const std::vector<RunSettings>& ways,
    OptimizeMeasurer& measurer,
    const OptimizeOptions& options);

/// Marks candidates that no other beats in time, memory and quality at once.
/// Those that weren't measured aren't on the front, unless none was.
void mark_front(std::span<OptimizeCandidate> candidates);

/// `base` with the fields that `way` sets.
RunSettings combined(RunSettings base, const RunSettings& way);

/// What may be tried for a model. quant: fixes the format.
std::vector<OptimizeCandidate> format_candidates(
    const PlannedModel& model,
    const std::optional<WeightFormat>& fixed);
/// Threads, instruction sets, prefill steps, and on a GPU MLX's cache.
std::vector<RunSettings> way_candidates(int cores, int prompt_tokens, bool gpu);
/// Fills what is predicted, and drops what can't fit or is hopelessly slow.
void predict_candidates(
    const PlannedModel& model,
    std::span<OptimizeCandidate> candidates,
    const MachineRates& rates,
    const OptimizeOptions& options,
    bool gpu);

/// A model without weights here: predictions over formats, bits of the KV
/// cache and prefill steps.
struct PlannedRun {
  std::optional<WeightFormat> format;
  int kv_bits = 16;
  int prefill_step = 512;
  std::uint64_t bytes = 0;
  SpeedPrediction speed;
  double seconds = 0;
  bool fits = true;
  bool on_front = false;
  RunSettings settings() const;
};
struct PlannedResult {
  std::vector<PlannedRun> runs;
  std::optional<std::size_t> choice;  ///< absent: none fits
};
PlannedResult plan_runs(
    const PlannedModel& model,
    const std::optional<WeightFormat>& fixed,
    bool quant,
    bool params,
    const MachineRates& rates,
    const OptimizeOptions& options,
    bool gpu);

}  // namespace roofline
