// One decoder layer as MLX ops: norms, attention and feed-forward, joined to
// the residual stream as the LayerSpec says.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_feed_forward.h"
#include "roofline/model/graph_heads.h"
#include "roofline/model/graph_latent.h"
#include "roofline/model/graph_mixture.h"
#include "roofline/model/graph_norm.h"
#include "roofline/model/graph_recurrent.h"
#include "roofline/model/graph_types.h"

namespace roofline {

class GraphLayer {
 public:
  GraphLayer(
      const LayerSpec& spec,
      int index,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// x: the residual stream [tokens, dim]; returns it after this layer.
  mx::array forward(const mx::array& x, std::vector<GraphSequence>& sequences);
  std::size_t weight_bytes() const;

 private:
  void make_norms(const std::string& prefix, const GraphWeights& weights);
  mx::array join(
      const mx::array& x,
      const mx::array& y,
      const std::optional<GraphNorm>& post_norm) const;
  mx::array attention(
      const mx::array& x,
      std::vector<GraphSequence>& sequences);
  mx::array mix(const mx::array& x, std::vector<GraphSequence>& sequences);
  mx::array feed_forward(const mx::array& x) const;
  mx::array normed(const mx::array& x, const std::optional<GraphNorm>& norm)
      const;

  LayerSpec spec_;
  GraphTypes types_;
  std::optional<GraphNorm> attention_norm_, attention_post_norm_;
  std::optional<GraphNorm> feed_forward_norm_, feed_forward_post_norm_;
  /// At most one of the two.
  std::optional<GraphHeads> heads_;
  std::optional<GraphLatent> latent_;
  std::optional<GraphRecurrent> recurrent_;
  /// At most one of the two.
  std::optional<GraphFeedForward> dense_;
  std::optional<GraphMixture> mixture_;
};

}  // namespace roofline
