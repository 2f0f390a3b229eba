// Tensors whose values MLX's layout holds otherwise than Hugging Face's: turned
// axes, norms with their one, factors of the config in the weights, latent
// projections by head. The arithmetic is that of mlx-lm's, in the weights' own
// dtype, so that the bits are the same.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/weights/convert/rows.h"

namespace roofline {

/// The last two axes change places.
RowTensor turned(const RowTensor& tensor);

/// A matrix stored [in, out], by name.
bool is_turned_linear(const RowTensor& tensor);

/// [channels, 1, width] rather than [channels, width, 1].
bool is_unturned_convolution(const RowTensor& tensor);

/// A norm's weight that is stored without the one that is added to it.
bool is_shifted_norm(const RowTensor& tensor);
RowTensor plus_one(const RowTensor& tensor);

/// The tensor times what the config multiplies at its place.
RowTensor with_factors(RowTensor tensor, const nlohmann::json& config);

/// kv_b_proj [heads · (nope + value), rank] → embed_q [heads, rank, nope] and
/// unembed_out [heads, value, rank]. Throws CheckpointError when the config's
/// sizes aren't the tensor's.
std::vector<RowTensor> split_latent(
    const RowTensor& tensor,
    const nlohmann::json& config);

}  // namespace roofline
