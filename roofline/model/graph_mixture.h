// A mixture of experts as MLX ops: the router chooses a few experts for each
// token, their results are weighed and summed, and what a shared expert says is
// added. Only chosen experts are multiplied with.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include <mlx/array.h>

#include "roofline/model/graph_activation.h"
#include "roofline/model/graph_experts.h"
#include "roofline/model/graph_feed_forward.h"
#include "roofline/model/graph_router.h"
#include "roofline/model/graph_types.h"

namespace roofline {

class GraphMixture {
 public:
  /// spec.mixture must be there. prefix: "layers.3.feed_forward.". norm: what
  /// the layer's norms are like.
  GraphMixture(
      const FeedForwardSpec& spec,
      const NormSpec& norm,
      const std::string& prefix,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// x, result: [tokens, dim].
  mx::array forward(const mx::array& x) const;
  /// The same where the router judges another view of the tokens.
  mx::array forward(const mx::array& x, const mx::array& routed_by) const;
  /// Bytes that one token's step reads: those of the chosen experts only.
  std::size_t weight_bytes() const;

 private:
  mx::array hidden(
      const mx::array& x,
      const mx::array& up,
      const mx::array& ids) const;
  mx::array experts(const mx::array& x, const mx::array& ids) const;

  FeedForwardSpec spec_;
  GraphRouter router_;
  GraphExperts up_;  ///< gate and up when gated
  GraphExperts down_;
  /// What adapters add to each; no gate where there is none.
  GraphHookPtr gate_hook_, up_hook_, down_hook_;
  /// Into the dims that the experts work in, and out of them.
  std::optional<GraphMatrix> latent_in_, latent_out_;
  GraphFunction activate_;
  std::optional<GraphFeedForward> shared_;
  std::optional<mx::array> shared_gate_;  ///< [dim, 1] float32
  GraphHookPtr shared_gate_hook_;
};

}  // namespace roofline
