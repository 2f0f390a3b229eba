// MLX's quantized layouts inside safetensors: X.weight (u32 codes), X.scales
// and X.biases (mode affine only), with mode, bits and group size in
// config.json's "quantization".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "roofline/spec/model_spec.h"
#include "roofline/weights/safetensors.h"
#include "roofline/weights/shards.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// How config.json says that one tensor is packed: the entry of its own, else
/// the one for all. module: the tensor's name without ".weight".
/// nullopt: it isn't. Throws CheckpointError for impossible values and
/// UnsupportedError for an unknown mode.
std::optional<StoredQuantization> packing_of(
    const std::string& module,
    const nlohmann::json& config,
    const std::string& label);

/// The entries as one tensor named like `weight`. Throws CheckpointError
/// when their shapes and dtypes don't fit together and to `packing`.
Tensor mlx_tensor(
    const SafetensorsEntry& weight,
    const SafetensorsEntry* scales,
    const SafetensorsEntry* biases,
    StoredQuantization packing,
    const std::string& label);

/// The packed weight that scales, biases or a global scale belong to; nullptr
/// for an entry that is none of these.
const SafetensorsEntry* packed_weight_of(
    std::string_view side,
    const Shards& shards);

/// Rows × cols of an entry: all axes but the last are rows.
Tensor shaped_tensor(const SafetensorsEntry& entry);

}  // namespace roofline
