// The CPU's attention and its writing of codes as MLX ops, for graphs: arrays
// of a cache in, no copy of it made.
#pragma once

#include <optional>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/attention/attention.h"

namespace roofline {

namespace mx = mlx::core;

/// A call without its memory: what is a pointer or a span here is filled in
/// when it runs.
struct CachedAttention {
  AttentionArgs args;
  std::vector<KvSegment> segments;
  /// Values are the first dims of the keys; there are no arrays of them.
  bool latent = false;
};

/// q: [tokens, heads·head_dim] → [tokens, heads·value_dim], float32. keys and
/// values: the floats, then, where the view has codes, those, their scales and
/// their biases. It has no gradient.
mx::array cached_attention(
    const mx::array& q,
    const std::vector<mx::array>& keys,
    const std::vector<mx::array>& values,
    const std::optional<mx::array>& sinks,
    CachedAttention what);

/// x [1, heads, tokens, dims] in codes: u8 [1, heads, tokens, row bytes], f16
/// scales and biases [1, heads·groups, tokens, 1].
std::vector<mx::array> kv_codes_of(const mx::array& x, int bits, int group);

}  // namespace roofline
