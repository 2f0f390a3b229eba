// Attention that reads a cache where it lies, in a graph: with the CPU's
// kernels, or, where it is in codes on a GPU, with MLX's quantized products.
#pragma once

#include <cstdint>
#include <optional>

#include <mlx/array.h>

#include "roofline/model/graph_attention.h"

namespace roofline {

struct GraphQueries {
  mx::array q;                ///< [1, heads, tokens, head_dim]
  std::int64_t position = 0;  ///< of the first
  float scale = 1.0f;
  std::optional<int> window_tokens;
  std::optional<float> softcap;
  std::optional<mx::array> sinks;  ///< [heads]
};

/// [1, heads, tokens, value_dim] in q's type; nullopt where it is better, or
/// without codes the only way, to read the slots as an array (read_slots) and
/// to use MLX's own attention. value_dim: of a latent, whose values are the
/// first dims of its keys; absent: the layer has values.
std::optional<mx::array> attend_in_place(
    const GraphQueries& queries,
    KvCache& cache,
    int layer,
    const SlotMask& mask,
    AttentionBy by,
    std::optional<int> value_dim = std::nullopt);

}  // namespace roofline
