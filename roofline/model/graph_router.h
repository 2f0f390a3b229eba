// Which experts of a mixture compute each token, and how their results are
// weighed, as MLX ops.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include <mlx/array.h>

#include "roofline/model/graph_weights.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

struct Routing {
  mx::array experts;  ///< [tokens, top_k] u32, in no order
  mx::array weights;  ///< [tokens, top_k] float32
};

class GraphRouter {
 public:
  /// norm: what the layer's are like. prefix: "layers.3.feed_forward.". The
  /// router is small and decides much: it is kept and calculated in float32,
  /// and never quantized at load.
  GraphRouter(
      const MixtureSpec& spec,
      const NormSpec& norm,
      const std::string& prefix,
      const GraphWeights& weights);

  /// x: [tokens, dim].
  Routing route(const mx::array& x) const;
  std::size_t bytes() const;
  int dim() const { return weight_.shape(1); }

 private:
  mx::array choose(const mx::array& selection) const;
  mx::array choose_in_groups(const mx::array& selection) const;

  MixtureSpec spec_;
  mx::array weight_;  ///< [experts, dim]
  GraphHookPtr hook_;
  std::optional<mx::array> bias_;       ///< [experts]
  std::optional<mx::array> selection_;  ///< [experts]
  /// [dim], with 1/√dim in it: the factor on the normalized input.
  std::optional<mx::array> input_scale_;
  std::optional<mx::array> expert_scale_;  ///< [experts]
  float norm_eps_ = 0.0f;
};

}  // namespace roofline
