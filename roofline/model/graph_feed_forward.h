// The dense feed-forward part of a layer as MLX ops.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/graph_activation.h"
#include "roofline/model/graph_norm.h"
#include "roofline/model/graph_types.h"

namespace roofline {

class GraphFeedForward {
 public:
  /// prefix: "layers.3.feed_forward.". norm: what the layer's norms are like.
  GraphFeedForward(
      const FeedForwardSpec& spec,
      const NormSpec& norm,
      const std::string& prefix,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// x, result: [tokens, dim].
  mx::array forward(const mx::array& x) const;
  std::size_t weight_bytes() const;

 private:
  mx::array hidden(const mx::array& up) const;

  FeedForwardSpec spec_;
  GraphTypes types_;
  bool own_kernels_;
  GraphMatrix up_;  ///< gate and up when gated
  GraphMatrix down_;
  std::optional<GraphNorm> hidden_norm_;
  std::vector<mx::array> xielu_;  ///< alpha_p, alpha_n, beta, eps
  GraphFunction activate_;
};

}  // namespace roofline
