// A checkpoint of which some tensors come from another file: weights that were
// trained, beside the model that they were trained from.
#pragma once

#include <filesystem>
#include <memory>

#include "roofline/weights/checkpoint.h"

namespace roofline {

/// base: of a folder; it must outlive the result. weights: safetensors of
/// floats under the names of Hugging Face's or MLX's layout. Throws
/// CheckpointError for a tensor that base doesn't have, or has in another
/// shape.
std::unique_ptr<Checkpoint> overlay_checkpoint(
    const Checkpoint& base,
    const std::filesystem::path& weights);

}  // namespace roofline
