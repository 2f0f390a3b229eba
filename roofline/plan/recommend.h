// Which models suit a machine: the format, context and settings with which one
// fits and is quick enough, how many fit at once, and how it can be trained.
// All from predictions of memory.h and speed.h; candidates come from outside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "roofline/plan/chips.h"
#include "roofline/plan/memory.h"
#include "roofline/plan/speed.h"

namespace roofline {

/// A machine as far as a recommendation goes.
struct Hardware {
  std::string name;
  std::uint64_t ram_bytes = 0;
  /// What a model may take of it.
  std::uint64_t budget_bytes = 0;
  bool gpu = false;
  bool card = false;  ///< with memory of its own
  MachineRates rates;
  /// Operations a second where weights stay floats; 0: as in rates.
  double float_operations_per_second = 0;
  /// Of this machine's own runs, where it is this one.
  MemoryConstants constants = default_memory_constants();
  /// What to know about it, one sentence; empty: nothing.
  std::string note;
  /// The CPU beside a GPU, where its rates are known.
  std::optional<MachineRates> cpu;
};

Hardware hardware_of(const Chip& chip, std::uint64_t ram_bytes);

/// A machine without a GPU keeps 2 GiB or a fifth for the system, whichever is
/// more.
std::uint64_t cpu_memory_budget(std::uint64_t ram_bytes);

struct RunWish {
  std::int64_t context_tokens = 8192;
  /// The context may shrink to this when nothing else fits.
  std::int64_t least_context_tokens = 2048;
  std::int64_t prompt_tokens = 1024;
  /// Slower than people read is too slow to be recommended first.
  double least_tokens_per_second = 6;
};

/// A model with the settings it would run with.
struct RunPlan {
  std::string model;
  double parameters = 0;
  /// Of one token: fewer than all in a mixture.
  double active_parameters = 0;
  /// Absent: as stored.
  std::optional<WeightFormat> format;
  InferenceQuestion question;
  MemoryPrediction memory;
  SpeedPrediction speed;
  /// GPU over CPU; absent where either rate isn't known.
  std::optional<double> decode_speedup;
  std::optional<double> prefill_speedup;
  std::int64_t prompt_tokens = 0;
  /// Of a prompt of prompt_tokens; 0 where prefill isn't known.
  double first_token_seconds = 0;
  bool quick_enough = false;
  int copies = 0;   ///< of this model that fit at once, each by itself
  int streams = 0;  ///< sequences that one of it decodes in parallel
  double streams_tokens_per_second = 0;

  /// "int4 (group 64)", "bf16", "as stored"
  std::string format_text() const;
  /// By which plans are ranked: √(all · active) parameters.
  double capability() const;
};

/// The best format (16, 8, then 4 bits) that fits the budget and is quick
/// enough; else the smallest that fits, with less context if need be. Absent:
/// it doesn't fit.
std::optional<RunPlan> plan_run(
    const PlannedModel& model,
    const Hardware& hardware,
    const RunWish&);

/// Quick ones first, then by capability.
std::vector<RunPlan> rank_runs(std::vector<RunPlan> plans);

struct TrainPlan {
  std::string model;
  double parameters = 0;
  TrainingQuestion question;
  MemoryPrediction memory;
  bool fits = false;
};

const char* name_of(TrainMethod method);

/// Each method with the largest batch of 1, 2, 4 or 8 that fits, and with
/// checkpointing only if it must be; full, dora, lora, qlora.
std::vector<TrainPlan> plan_training(
    const PlannedModel& model,
    const Hardware& hardware,
    std::int64_t sequence_tokens = 512,
    int rank = 16);

/// Whether a model in a format fits a machine, and up to which context.
struct FitVerdict {
  MemoryPrediction memory;  ///< at the context asked for
  std::uint64_t budget_bytes = 0;
  std::int64_t context_tokens = 0;
  /// The largest that fits, at most the model's own; 0: none of 256 tokens.
  std::int64_t largest_context = 0;
  bool holds() const { return memory.total() <= budget_bytes; }
};

FitVerdict check_fit(
    const PlannedModel& model,
    std::optional<WeightFormat> format,
    const Hardware& hardware,
    std::int64_t context_tokens);

}  // namespace roofline
