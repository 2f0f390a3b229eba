// Copies a model in a folder of safetensors, in Hugging Face or MLX layout,
// with changed weights: floats in their own type, codes quantized again or
// decoded.
#pragma once

#include "roofline/train/fuse.h"

namespace roofline {

/// Throws UnsupportedError where a change has no place.
void require_place_in_folder(
    const Checkpoint& checkpoint,
    const WeightChanges& changes);

/// write_changed_model() for such a folder.
void write_changed_folder(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const std::filesystem::path& target,
    FuseQuantized quantized,
    bool force);

}  // namespace roofline
