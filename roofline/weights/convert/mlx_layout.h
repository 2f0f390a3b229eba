// The layout in which mlx-lm keeps a family's weights, as rules on Hugging
// Face's: which tensors go, which are stacked, split, turned or renamed. What
// no rule names stays as it is. Facts: the `sanitize` functions of mlx-lm's
// models.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/weights/convert/rows.h"

namespace roofline {

/// tensors: under Hugging Face's names. config: the checkpoint's config.json.
/// tied: the head is the embedding, and a stored copy of it is dropped. Weights
/// that are in MLX's layout already come back unchanged. Throws
/// UnsupportedError for a family whose layout in MLX isn't known.
std::vector<RowTensor> to_mlx_layout(
    std::vector<RowTensor> tensors,
    const nlohmann::json& config,
    bool tied);

/// The layout has some norms as 1 + w, and these tensors, under Hugging Face's
/// names, have them as w.
bool mlx_layout_adds_ones(
    const std::vector<RowTensor>& tensors,
    const nlohmann::json& config);

}  // namespace roofline
