// What a run's options mean for those that do a part of it: loading, batches,
// the device.
#pragma once

#include <cstddef>
#include <optional>

#include "roofline/model/trainable_decoder.h"
#include "roofline/train/batches.h"
#include "roofline/train/options.h"

namespace roofline {

/// What load_trainable needs for these options.
TrainableOptions trainable_options(
    const TrainOptions& options,
    const ModelSpec& spec);

/// How these options make batches.
BatchOptions batch_options(const TrainOptions& options);

/// Memory now, and the most that the run held: of the GPU where it computes
/// there, else of the process. Bytes.
double training_memory(const TrainOptions& options);
double peak_training_memory(const TrainOptions& options);

/// While it lives, MLX on a CPU hands out memory for an op when the one before
/// it is done; else for up to ten ahead, which at a training step's sizes is a
/// tenth of the peak. Does nothing for a GPU, or where there is one: its
/// allocator would give all that it keeps back to the system each time.
class OneOpAtATime {
 public:
  explicit OneOpAtATime(const TrainOptions& options);
  ~OneOpAtATime();
  OneOpAtATime(const OneOpAtATime&) = delete;
  OneOpAtATime& operator=(const OneOpAtATime&) = delete;

 private:
  std::optional<std::size_t> limit_before_;
};

}  // namespace roofline
