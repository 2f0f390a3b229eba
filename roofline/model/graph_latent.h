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
  /// The matrices between the latent and the heads.
  struct Up {
    mx::array to_latent;    ///< [heads, nope_dim, kv_rank]
    mx::array from_latent;  ///< [heads, kv_rank, value_dim]
  };

  static Up read_up(
      const AttentionSpec& spec,
      const GraphWeights& weights,
      const std::string& prefix);
  Up up_of(const mx::array& whole) const;
  static mx::array whole_of(const Up& up);
  void hook_up(const GraphWeights& weights, const std::string& name);
  mx::array queries(const mx::array& x) const;
  mx::array attend(const mx::array& query, KvCache& cache, const SlotMask& mask)
      const;
  mx::array attend_one(
      const mx::array& q,
      const mx::array& kv,
      const Up& up,
      GraphSequence& sequence);

  AttentionSpec spec_;
  LatentSpec latent_;
  int index_;
  GraphTypes types_;
  std::optional<GraphNorm> q_norm_;
  GraphNorm kv_norm_;
  GraphMatrix q_a_, q_b_;  ///< q_b_: from x where there is no q_rank
  GraphMatrix kv_a_, output_;
  Up up_;                 ///< as stored
  GraphHookPtr up_hook_;  ///< null where they are stored apart
  std::optional<GraphRope> rope_;
};

}  // namespace roofline
