#include "roofline/model/graph_layer.h"

#include <fmt/format.h>
#include <mlx/ops.h>

namespace roofline {

GraphLayer::GraphLayer(
    const LayerSpec& spec,
    int index,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(spec), types_(types) {
  if (spec.attention->latent) {
    latent_.emplace(*spec.attention, spec.norm, index, weights, types);
  } else {
    heads_.emplace(*spec.attention, spec.norm, index, weights, types);
  }
  const auto prefix = fmt::format("layers.{}.", index);
  const auto inner = prefix + "feed_forward.";
  if (spec.feed_forward->mixture) {
    mixture_.emplace(*spec.feed_forward, spec.norm, inner, weights, types);
  } else {
    dense_.emplace(*spec.feed_forward, spec.norm, inner, weights, types);
  }
  const auto norm = [&](const char* name, mx::Dtype input) {
    return GraphNorm(spec.norm, weights, prefix + name, input);
  };
  const auto place = spec.norm_placement;
  const bool after =
      place == NormPlacement::post || place == NormPlacement::sandwich;
  if (place != NormPlacement::post) {
    attention_norm_ = norm("attention_norm", types.residual);
  }
  if (place != NormPlacement::post && place != NormPlacement::parallel) {
    feed_forward_norm_ = norm("feed_forward_norm", types.residual);
  }
  if (after) {
    attention_post_norm_ = norm("attention_post_norm", types.activations);
    feed_forward_post_norm_ = norm("feed_forward_post_norm", types.activations);
  }
}

/// x + scale·post_norm(y)
mx::array GraphLayer::join(
    const mx::array& x,
    const mx::array& y,
    const std::optional<GraphNorm>& post_norm) const {
  auto joined = post_norm ? (*post_norm)(y, types_.residual)
                          : mx::astype(y, types_.residual);
  if (spec_.residual_scale != 1.0f) {
    joined = mx::multiply(joined, scalar_like(spec_.residual_scale, joined));
  }
  return mx::add(x, joined);
}

mx::array GraphLayer::attention(
    const mx::array& x,
    std::vector<GraphSequence>& sequences) {
  return latent_ ? latent_->forward(x, sequences)
                 : heads_->forward(x, sequences);
}

mx::array GraphLayer::feed_forward(const mx::array& x) const {
  return mixture_ ? mixture_->forward(x) : dense_->forward(x);
}

mx::array GraphLayer::normed(
    const mx::array& x,
    const std::optional<GraphNorm>& norm) const {
  return norm ? (*norm)(x, types_.activations)
              : mx::astype(x, types_.activations);
}

mx::array GraphLayer::forward(
    const mx::array& x,
    std::vector<GraphSequence>& sequences) {
  const auto input = normed(x, attention_norm_);
  const auto y = attention(input, sequences);
  const auto after = join(x, y, attention_post_norm_);
  if (spec_.norm_placement == NormPlacement::parallel) {
    return join(after, feed_forward(input), std::nullopt);
  }
  const bool beside = spec_.norm_placement == NormPlacement::parallel_own_norms;
  const auto fed = normed(beside ? x : after, feed_forward_norm_);
  return join(after, feed_forward(fed), feed_forward_post_norm_);
}

std::size_t GraphLayer::weight_bytes() const {
  return (latent_ ? latent_->weight_bytes() : heads_->weight_bytes()) +
         (mixture_ ? mixture_->weight_bytes() : dense_->weight_bytes()) +
         norm_bytes(attention_norm_) + norm_bytes(attention_post_norm_) +
         norm_bytes(feed_forward_norm_) + norm_bytes(feed_forward_post_norm_);
}

}  // namespace roofline
