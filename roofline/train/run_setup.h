// What a run's options mean for those that do a part of it: loading, batches,
// the device.
#pragma once

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

}  // namespace roofline
