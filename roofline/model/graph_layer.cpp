#include "roofline/model/graph_layer.h"

#include <string>

#include <fmt/format.h>
#include <mlx/ops.h>

namespace roofline {

GraphLayer::GraphLayer(
    const LayerSpec& spec,
    int index,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(spec), types_(types) {
  const auto prefix = fmt::format("layers.{}.", index);
  if (spec.attention && spec.attention->latent) {
    latent_.emplace(*spec.attention, spec.norm, index, weights, types);
  } else if (spec.attention) {
    heads_.emplace(*spec.attention, spec.norm, index, weights, types);
  }
  if (spec.recurrent) {
    recurrent_.emplace(*spec.recurrent, spec.norm.eps, index, weights);
  }
  const auto inner = prefix + "feed_forward.";
  if (spec.feed_forward && spec.feed_forward->mixture) {
    mixture_.emplace(*spec.feed_forward, spec.norm, inner, weights, types);
  } else if (spec.feed_forward) {
    dense_.emplace(*spec.feed_forward, spec.norm, inner, weights, types);
  }
  make_norms(prefix, weights);
}

void GraphLayer::make_norms(
    const std::string& prefix,
    const GraphWeights& weights) {
  const auto norm = [&](const char* name, mx::Dtype input) {
    return GraphNorm(spec_.norm, weights, prefix + name, input);
  };
  const auto place = spec_.norm_placement;
  const bool before = place != NormPlacement::post;
  const bool after =
      place == NormPlacement::post || place == NormPlacement::sandwich;
  const bool mixes = spec_.attention || spec_.recurrent;
  const bool feeds = spec_.feed_forward.has_value();
  if (mixes && before) {
    attention_norm_ = norm("attention_norm", types_.residual);
  }
  if (feeds && before && place != NormPlacement::parallel) {
    feed_forward_norm_ = norm("feed_forward_norm", types_.residual);
  }
  if (mixes && after) {
    attention_post_norm_ = norm("attention_post_norm", types_.activations);
  }
  if (feeds && after) {
    feed_forward_post_norm_ =
        norm("feed_forward_post_norm", types_.activations);
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
  const auto scaled = [](const mx::array& in, float scale) {
    return scale == 1.0f ? in : mx::multiply(in, scalar_like(scale, in));
  };
  const auto in = scaled(x, spec_.attention_input_scale);
  const auto y = latent_ ? latent_->forward(in, sequences)
                         : heads_->forward(in, sequences);
  return scaled(y, spec_.attention_output_scale);
}

/// Attention, a recurrence, or the sum of both on the same input.
mx::array GraphLayer::mix(
    const mx::array& x,
    std::vector<GraphSequence>& sequences) {
  if (!recurrent_) {
    return attention(x, sequences);
  }
  const auto y = recurrent_->forward(x, sequences);
  return spec_.attention ? mx::add(y, attention(x, sequences)) : y;
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
  auto after = x;
  auto input = x;
  if (spec_.attention || spec_.recurrent) {
    input = normed(x, attention_norm_);
    after = join(x, mix(input, sequences), attention_post_norm_);
  }
  if (!spec_.feed_forward) {
    return after;
  }
  if (spec_.norm_placement == NormPlacement::parallel) {
    return join(after, feed_forward(input), std::nullopt);
  }
  const bool beside = spec_.norm_placement == NormPlacement::parallel_own_norms;
  const auto fed = normed(beside ? x : after, feed_forward_norm_);
  return join(after, feed_forward(fed), feed_forward_post_norm_);
}

std::size_t GraphLayer::weight_bytes() const {
  const auto bytes = [](const auto& part) {
    return part ? part->weight_bytes() : std::size_t{0};
  };
  return bytes(latent_) + bytes(heads_) + bytes(recurrent_) + bytes(mixture_) +
         bytes(dense_) + norm_bytes(attention_norm_) +
         norm_bytes(attention_post_norm_) + norm_bytes(feed_forward_norm_) +
         norm_bytes(feed_forward_post_norm_);
}

}  // namespace roofline
