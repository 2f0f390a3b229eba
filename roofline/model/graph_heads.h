// Attention with grouped heads as MLX ops: projections, norms of queries and
// keys, rope, and the cache. Products run on the tokens of all sequences
// together, attention on each sequence alone.
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

class GraphHeads {
 public:
  /// index: of the layer. norm: what the layer's norms are like.
  GraphHeads(
      const AttentionSpec& spec,
      const NormSpec& norm,
      int index,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// x, result: [tokens, dim].
  mx::array forward(const mx::array& x, std::vector<GraphSequence>& sequences);
  std::size_t weight_bytes() const;

 private:
  struct Projected {
    mx::array q;                    ///< [tokens, heads·head_dim]
    std::optional<mx::array> k, v;  ///< absent: those of another layer
    std::optional<mx::array> gate;  ///< as q
  };
  Projected project(const mx::array& x) const;
  mx::array half_of_heads(const mx::array& x, int half) const;
  mx::array attend_one(const Projected& all, GraphSequence& sequence);
  mx::array attend_samples(const mx::array& x, const PackedSamples& samples)
      const;
  void store_one(const mx::array& k, mx::array v, GraphSequence& sequence);
  mx::array prepared(
      mx::array x,
      const std::optional<GraphNorm>& norm,
      const GraphSequence& sequence);
  mx::array temperature(const GraphSequence& sequence) const;

  AttentionSpec spec_;
  int index_;
  GraphTypes types_;
  std::optional<GraphNorm> q_norm_, k_norm_, v_norm_, output_norm_;
  GraphMatrix qkv_, output_;
  std::optional<GraphRope> rope_;
  std::optional<mx::array> sinks_;  ///< [heads]
};

}  // namespace roofline
