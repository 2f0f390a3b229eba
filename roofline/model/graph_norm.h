// A normalization of the last axis as MLX ops: rms or layer norm, with or
// without a weight, a bias, and a weight of each head's own.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include <mlx/array.h>

#include "roofline/model/graph_weights.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

class GraphNorm {
 public:
  /// input: the type of the x that will come, and of the stored weight. A
  /// stored weight [heads, head_dim] is for x of [..., heads, head_dim].
  GraphNorm(
      const NormSpec& spec,
      const GraphWeights& weights,
      const std::string& name,
      mx::Dtype input);
  /// Normalizes the last axis; the result has type `output`.
  mx::array operator()(const mx::array& x, mx::Dtype output) const;
  std::size_t bytes() const;

 private:
  NormSpec spec_;
  std::optional<mx::array> weight_;
  std::optional<mx::array> bias_;
  std::optional<mx::array> head_weight_;  ///< [heads, head_dim]
  GraphHookPtr weight_hook_, bias_hook_;
  bool own_kernels_ = false;

  std::optional<mx::array> weight() const;
};

/// The bytes of a norm that may be absent.
std::size_t norm_bytes(const std::optional<GraphNorm>& norm);

}  // namespace roofline
