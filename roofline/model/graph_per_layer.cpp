#include "roofline/model/graph_per_layer.h"

#include <cmath>

#include <mlx/ops.h>

namespace roofline {

GraphPerLayerEmbedding::GraphPerLayerEmbedding(
    const ModelSpec& spec,
    const GraphWeights& weights,
    const GraphTypes& types)
    : types_(types),
      width_(*spec.per_layer_embedding),
      layers_(static_cast<int>(spec.layers.size())),
      rows_(spec.per_layer_vocab.value_or(spec.vocab)),
      dim_(spec.dim),
      embed_(weights.matrix("per_layer.embed")),
      project_(weights.matrix("per_layer.project")),
      norm_(spec.final_norm, weights, "per_layer.norm", types.activations) {}

mx::array GraphPerLayerEmbedding::forward(
    const mx::array& ids,
    const mx::array& x) const {
  const auto tokens = ids.shape(0);
  const mx::Shape shape = {tokens, layers_, width_};
  // Tokens beyond the table count as the first.
  const auto known = mx::less(ids, mx::array(rows_, mx::int32));
  auto own = take_rows(
      embed_,
      mx::where(known, ids, mx::array(0, mx::int32)),
      types_.activations);
  own = mx::multiply(own, scalar_like(std::sqrt(width_), own));
  auto mixed = linear(mx::astype(x, types_.activations), project_);
  mixed = mx::multiply(mixed, scalar_like(1.0 / std::sqrt(dim_), mixed));
  mixed = norm_(mx::reshape(mixed, shape), types_.activations);
  const auto sum = mx::add(mixed, mx::reshape(own, shape));
  return mx::reshape(
      mx::multiply(sum, scalar_like(M_SQRT1_2, sum)),
      {tokens, layers_ * width_});
}

std::size_t GraphPerLayerEmbedding::weight_bytes() const {
  return project_.bytes() + norm_.bytes();
}

GraphPerLayer::GraphPerLayer(
    Activation activation,
    const NormSpec& norm,
    const std::string& prefix,
    const GraphWeights& weights,
    const GraphTypes& types)
    : types_(types),
      gate_(weights.matrix(prefix + "gate")),
      out_(weights.matrix(prefix + "out")),
      norm_(norm, weights, prefix + "norm", types.activations),
      activate_(make_activate(activation, types.fuse)) {}

mx::array GraphPerLayer::forward(const mx::array& x, const mx::array& input)
    const {
  const auto gate = linear(mx::astype(x, types_.activations), gate_);
  const auto y = linear(activate_({gate, input})[0], out_);
  return norm_(y, types_.residual);
}

std::size_t GraphPerLayer::weight_bytes() const {
  return gate_.bytes() + out_.bytes() + norm_.bytes();
}

}  // namespace roofline
