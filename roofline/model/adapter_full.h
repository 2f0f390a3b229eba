// What mlx-lm's training of all of a layer's weights leaves (fine_tune_type
// "full"): no low-rank matrices but the weights themselves, in an adapter's
// folder.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "roofline/model/adapter.h"

namespace roofline {

bool is_full_adapter(const std::filesystem::path& folder);

/// The checkpoint with the weights of the full one of the adapters in the place
/// of its own; null when there is none. The checkpoint must outlive it. Throws
/// UnsupportedError for several of them, for one with a weight other than 1 and
/// for a GGUF file, CheckpointError when they don't belong to the model.
std::unique_ptr<Checkpoint> with_full_weights(
    const Checkpoint& checkpoint,
    std::span<const AdapterChoice> adapters);

}  // namespace roofline
