// What reading and writing an adapter's files share: their names, and the order
// of rows on disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/array.h>

#include "roofline/weights/checkpoint.h"

namespace roofline {

namespace mx = mlx::core;

namespace adapter_files {

constexpr std::string_view kConfig = "adapter_config.json";
constexpr std::string_view kMlxWeights = "adapters.safetensors";
constexpr std::string_view kPeftWeights = "adapter_model.safetensors";
constexpr std::string_view kPeftPrefix = "base_model.model.";

[[noreturn]] void refuse_adapter(
    const std::filesystem::path& folder,
    const std::string& why);

}  // namespace adapter_files

/// Where in ours each row of Hugging Face's order is, for a rotary matrix that
/// the model has as GGUF does: pairs side by side instead of a half apart.
/// nullopt: the orders are the same.
std::optional<std::vector<std::int32_t>> hugging_face_order(
    const std::string& name,
    const Checkpoint& checkpoint);

/// The model's spec, of the family whose layout Hugging Face has for it.
ModelSpec hugging_face_spec(const Checkpoint& checkpoint);

/// x: [rows, …] → [order.size(), …]
mx::array take_rows(const mx::array& x, const std::vector<std::int32_t>& order);

}  // namespace roofline
