// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434) as MLX ops. The
// cache holds each token's latent and its one rotated key, shared by all heads:
// [1, 1, slots, kv_rank + rope_dim]. Keys and values are never expanded:
// q·(W_k·c) = (q·W_k)·c, and W_v is applied to the attended latents.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_norm.h"
#include "roofline/model/graph_rope.h"
#include "roofline/model/graph_types.h"

namespace roofline {

class GraphLatent {
 public:
  /// spec.latent must be there. index: of the layer. norm: what the layer's
  /// norms are like.
  GraphLatent(
      const AttentionSpec& spec,
      const NormSpec& norm,
      int index,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// x, result: [tokens, dim].
  mx::array forward(const mx::array& x, std::vector<GraphSequence>& sequences);
  std::size_t weight_bytes() const;

 private:
  mx::array queries(const mx::array& x) const;
  mx::array attend(const mx::array& query, KvCache& cache, const SlotMask& mask)
      const;
  mx::array attend_one(
      const mx::array& q,
      const mx::array& kv,
      GraphSequence& sequence);

  AttentionSpec spec_;
  LatentSpec latent_;
  int index_;
  GraphTypes types_;
  std::optional<GraphNorm> q_norm_;
  GraphNorm kv_norm_;
  GraphMatrix q_a_, q_b_;  ///< q_b_: from x where there is no q_rank
  GraphMatrix kv_a_, output_;
  mx::array to_latent_;    ///< [heads, nope_dim, kv_rank]
  mx::array from_latent_;  ///< [heads, kv_rank, value_dim]
  std::optional<GraphRope> rope_;
};

}  // namespace roofline
