// An embedding of each token for every layer: looked up in a table of its own,
// mixed with a projection of the usual embedding, and added by each layer
// through a gate.
#pragma once

#include <cstddef>
#include <string>

#include <mlx/array.h>

#include "roofline/model/graph_activation.h"
#include "roofline/model/graph_norm.h"
#include "roofline/model/graph_types.h"

namespace roofline {

/// What all layers share.
class GraphPerLayerEmbedding {
 public:
  GraphPerLayerEmbedding(
      const ModelSpec& spec,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// ids: [tokens] int32; x: their scaled embeddings [tokens, dim]. Returns
  /// [tokens, layers · width] in the activations' type.
  mx::array forward(const mx::array& ids, const mx::array& x) const;
  /// Bytes that a step reads beside the rows of its tokens.
  std::size_t weight_bytes() const;

 private:
  GraphTypes types_;
  int width_;
  int layers_;
  int rows_;
  int dim_;
  GraphMatrix embed_, project_;
  GraphNorm norm_;
};

/// A layer's part.
class GraphPerLayer {
 public:
  /// prefix: "layers.3.per_layer.".
  GraphPerLayer(
      Activation activation,
      const NormSpec& norm,
      const std::string& prefix,
      const GraphWeights& weights,
      const GraphTypes& types);

  /// norm(out · (act(gate · x) ∘ input)). x: [tokens, dim]; input: [tokens,
  /// width]; the result has the residual stream's type.
  mx::array forward(const mx::array& x, const mx::array& input) const;
  std::size_t weight_bytes() const;

 private:
  GraphTypes types_;
  GraphMatrix gate_, out_;
  GraphNorm norm_;
  GraphFunction activate_;
};

}  // namespace roofline
