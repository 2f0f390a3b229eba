// Writes a model whose weights have changed: an adapter fused in, or all of
// them trained.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "roofline/model/adapter.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// Changes a row of a weight under our name: values come as the checkpoint has
/// them, decoded, and leave as they are to be.
using RowChange =
    std::function<void(std::int64_t row, std::span<float> values)>;
using WeightChanges = std::map<std::string, RowChange, std::less<>>;

/// What becomes of quantized matrices that change.
enum class FuseQuantized {
  requantize,  ///< in the form they had
  decode,      ///< to half floats (bfloat16)
};

/// w + Σ weight · scale · b · a for each matrix of the adapters; of DoRA, w
/// plus weight times what it changes.
WeightChanges adapter_changes(
    std::span<const Adapter> adapters,
    std::span<const float> weights);

/// Copies the model in `checkpoint` (a folder of safetensors) to `target`, with
/// the changes; config, tokenizer and the like are copied. The folder appears
/// whole or not at all. force: replaces a checkpoint that is there. Throws
/// UnsupportedError for other layouts, UserError when it can't be written.
void write_changed_model(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const std::filesystem::path& target,
    FuseQuantized quantized,
    bool force);

}  // namespace roofline
