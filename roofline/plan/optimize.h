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

#include "roofline/decode/sampling.h"
#include "roofline/evaluate/quality.h"
#include "roofline/plan/planned_model.h"
#include "roofline/plan/settings.h"
#include "roofline/plan/speed.h"

namespace roofline {

enum class OptimizeGoal { speed, memory, quality };

/// What is timed: an answer to a prompt.
struct Workload {
  int prompt_tokens = 256;
  int decode_tokens = 128;
  /// So many are wanted; in one step as many as RunSettings::batch says.
  int answers = 1;
};

struct OptimizeSample {
  double prefill_seconds = 0;
  double decode_seconds = 0;
  int decode_tokens = 1;  ///< that were run, of each answer
  int batch = 1;          ///< answers that were run at once
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
  /// The same over a few tokens, always the same ones: to tell settings apart.
  virtual std::optional<QualityReport> glance(const RunSettings& settings) {
    return quality(settings);
  }
  /// Frees what it holds for these settings.
  virtual void forget(const RunSettings&) {}
  /// Since the search began.
  virtual double seconds() = 0;
};

struct OptimizeCandidate {
  RunSettings settings;
  double bits_per_weight = 16;
  double predicted_seconds = 0;  ///< of the workload; 0: not known
  std::uint64_t predicted_bytes = 0;
  std::vector<double> samples;  ///< seconds of the workload
  std::vector<double> prefill_speeds;
  std::vector<double> decode_speeds;
  std::uint64_t peak_bytes = 0;
  std::optional<QualityReport> quality;
  /// Why it is out of the race; empty: it isn't.
  std::string dropped;
  bool loses_too_much = false;  ///< that is why
  /// Measured to tell what it costs; it would answer otherwise, so it isn't
  /// chosen.
  bool told_only = false;
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
  MemoryConstants constants = default_memory_constants();
  /// Parts to try at 8 bits one by one where 4 bits throughout lose too much;
  /// see mixed_units(). Empty: only the mixes among the formats are tried.
  std::vector<std::string> mixed_units;
  /// Ways to draw tokens whose cost is told beside the choice's.
  std::vector<RunSettings> told;
  /// Fills in bits and predictions of a candidate that the search made.
  std::function<void(OptimizeCandidate&)> describe;
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

/// formats: ways to store the weights, the defaults first; ways: for each kind
/// of setting how the model may be run, tried on top of what won before. The
/// defaults' settings are formats[0]. Throws what measuring the defaults
/// throws.
OptimizeResult optimize(
    std::vector<OptimizeCandidate> formats,
    const std::vector<std::vector<RunSettings>>& ways,
    OptimizeMeasurer& measurer,
    const OptimizeOptions& options);

/// Marks candidates that no other beats in time, memory and quality at once.
/// Those that weren't measured aren't on the front, unless none was.
void mark_front(std::span<OptimizeCandidate> candidates);

/// `base` with the fields that `way` sets.
RunSettings combined(RunSettings base, const RunSettings& way);

/// What may be tried for a model: the defaults first, then more bits before
/// fewer; last 4 bits with some parts at 8, which are only tried where 4 bits
/// throughout lose too much. None but the defaults where nothing is left to
/// quantize.
std::vector<OptimizeCandidate> format_candidates(const PlannedModel& model);
/// Parts of a model whose need of bits is worth measuring: kinds of matrices in
/// all layers, and about eight runs of layers.
std::vector<std::string> mixed_units(const PlannedModel& model);

/// What ways to run a model there are to choose from.
struct WaySpace {
  int cores = 1;
  /// Those that this machine runs, the best first.
  std::vector<std::string> isas;
  Workload work;
  bool gpu = false;
  /// The system can wire memory down for the GPU (Metal): so much is needed.
  std::optional<std::int64_t> wired_bytes;
  /// Answers to a text are timed: what is looked up in it counts.
  bool text = false;
  /// A draft model that may guess at the answer to it; empty: none.
  std::string draft_model;
  /// The model has keys and values that may be kept in fewer bits.
  bool kv = false;
};

/// Threads with instruction sets, then prefill steps; on a GPU prefill steps,
/// then MLX's limits of memory. Then the cache's precisions, which cost quality
/// and so have theirs measured. Then batches where several answers are wanted,
/// and tokens to look up and to draft where a text is answered.
std::vector<std::vector<RunSettings>> way_candidates(const WaySpace& space);
/// Ways of drawing that may be quicker than that of `wish` and give other
/// answers: no randomness, fewer or no tests, no penalty.
std::vector<RunSettings> told_ways(const SamplingOptions& wish);

/// Fills what is predicted, and the bits. Returns the workload's seconds at the
/// roof; 0: not known.
double predict_candidate(
    const PlannedModel& model,
    OptimizeCandidate& candidate,
    const MachineRates& rates,
    const OptimizeOptions& options,
    bool gpu);
/// The same for all; drops what can't fit, and for speed what could not
/// win even at its roof.
void predict_candidates(
    const PlannedModel& model,
    std::span<OptimizeCandidate> candidates,
    const MachineRates& rates,
    const OptimizeOptions& options,
    bool gpu);

/// What a format's settings stand for; absent: as stored.
std::optional<WeightFormat> format_of(const RunSettings& settings);

/// For a model that isn't here: drops formats that lose more than 8 bits do and
/// that `most_kl`, the most that may be lost, doesn't leave room for, and
/// groups of over 64.
void drop_unmeasured(
    std::vector<OptimizeCandidate>& candidates,
    double most_kl);

/// For a model without weights here: the best of the candidates by what is
/// predicted; absent when none fits.
std::optional<std::size_t> planned_choice(
    std::span<const OptimizeCandidate> candidates,
    OptimizeGoal goal);

}  // namespace roofline
