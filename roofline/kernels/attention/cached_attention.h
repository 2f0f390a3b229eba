// The CPU's attention over a cache, and its writing of one that has codes, as
// MLX ops for graphs: arrays of a cache in, no copy of it made. Codes are
// written where they lie, so what order the ops have is the caller's business:
// each gives a token, and takes those of the ops that must have run.
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

struct CachedAttended {
  mx::array y;  ///< [tokens, heads·value_dim], float32
  /// Is evaluated when the cache was read; where the view has codes.
  std::optional<mx::array> read;
};

/// q: [tokens, heads·head_dim]. keys and values: the floats, then, where the
/// view has codes, those, their scales and their biases. after: tokens of what
/// must have been written. It has no gradient.
CachedAttended cached_attention(
    const mx::array& q,
    const std::vector<mx::array>& keys,
    const std::vector<mx::array>& values,
    const std::optional<mx::array>& sinks,
    const std::vector<mx::array>& after,
    CachedAttention what);

/// Tokens of a step that lie in successive slots.
struct KvRun {
  int first_token = 0;
  int first_slot = 0;
  int count = 0;
};

/// Keys or values of a step, and where they go.
struct CachedPart {
  mx::array x;  ///< [1, heads, tokens, dims]
  /// The floats, then, where there are codes, those, their scales and biases:
  /// row by row in memory, written in place.
  std::vector<mx::array> held;
  KvCodes codes = {};  ///< their sizes, without memory
};

/// Writes into slots as KvView has them, and gives a token that is evaluated
/// when it is done. after: tokens of what must have run.
mx::array write_cached(
    const std::vector<CachedPart>& parts,
    std::vector<KvRun> runs,
    const std::vector<mx::array>& after);

}  // namespace roofline
