// Runs a model as a question of memory.h says and tells what it really took,
// part by part: the answer to "is the prediction true here?".
#pragma once

#include <cstdint>
#include <functional>

#include "roofline/model/decoder.h"
#include "roofline/plan/memory.h"

namespace roofline {

struct MeasuredMemory {
  /// The most this process ever held: see peak_memory_bytes().
  std::uint64_t peak = 0;
  /// Resident at the end: pages of mapped files (weights and libraries), and
  /// the rest. 0 where the system won't tell.
  std::uint64_t resident_files = 0;
  std::uint64_t resident_anonymous = 0;
  std::uint64_t kv = 0;       ///< all caches, as allocated
  std::uint64_t weights = 0;  ///< that a decode step reads
  /// What MLX held before the caches were made.
  std::uint64_t loaded = 0;
};

struct MeasureOptions {
  /// Compute only so many prefill steps, the last ones; 0: all. The cache
  /// before them is allocated step by step and filled with zeros, which takes
  /// the memory that computing takes, and no time.
  int last_steps = 0;
  /// Called as the work goes on, with the share of the tokens done.
  std::function<void(double share)> progress = {};
};

/// Fills the caches of `question.batch` sequences with context_tokens − 1
/// tokens in steps of prefill_step (all sequences in one forward call, as
/// predicted), decodes one, and reads the figures. Ids are synthetic. Peaks are
/// the process's: run it in a fresh one.
MeasuredMemory measure_memory(
    Decoder& decoder,
    const InferenceQuestion& question,
    const MeasureOptions& options = {});

}  // namespace roofline
