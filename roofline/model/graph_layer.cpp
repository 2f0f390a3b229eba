#include "roofline/model/graph_layer.h"

#include <cmath>
#include <string>

#include <fmt/format.h>
#include <mlx/ops.h>

namespace roofline {

GraphTwin::GraphTwin(
    const NormSpec& norm,
    const std::string& prefix,
    const GraphWeights& weights,
    const GraphTypes& types)
    : types_(types),
      down_(weights.matrix(prefix + "down")),
      up_(weights.matrix(prefix + "up")),
      norm_(norm, weights, prefix + "norm", types.activations) {}

mx::array GraphTwin::forward(const mx::array& x) const {
  const auto y = norm_(linear(linear(x, down_), up_), types_.residual);
  return mx::add(mx::astype(x, types_.residual), y);
}

std::size_t GraphTwin::weight_bytes() const {
  return down_.bytes() + up_.bytes() + norm_.bytes();
}

GraphLayer::GraphLayer(
    const ModelSpec& model,
    int index,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(model.layers.at(index)), types_(types) {
  const LayerSpec& spec = spec_;
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
  }
  if (spec.feed_forward &&
      (!mixture_ || spec.feed_forward->mixture_beside_dense)) {
    dense_.emplace(*spec.feed_forward, spec.norm, inner, weights, types);
  }
  make_norms(prefix, weights);
  if (spec.low_rank_twin) {
    twin_.emplace(spec.norm, prefix + "twin.", weights, types);
  }
  if (model.per_layer_embedding) {
    per_layer_.emplace(
        spec.feed_forward->activation,
        spec.norm,
        prefix + "per_layer.",
        weights,
        types);
  }
  if (model.streams) {
    streams_.emplace(
        *model.streams,
        spec.norm,
        model.dim,
        prefix + "streams.",
        weights,
        types);
  }
  if (spec.output_scalar) {
    output_scalar_ = weights.vector(prefix + "output_scalar");
  }
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
  if (feeds && spec_.feed_forward->mixture_beside_dense) {
    const auto inner = [&](const char* name, mx::Dtype input) {
      return norm((std::string("feed_forward.") + name).c_str(), input);
    };
    dense_post_norm_ = inner("dense_post_norm", types_.activations);
    mixture_norm_ = inner("mixture_norm", types_.residual);
    mixture_post_norm_ = inner("mixture_post_norm", types_.activations);
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

mx::array GraphLayer::feed_both(const mx::array& x) const {
  const auto dense = dense_->forward(normed(x, feed_forward_norm_));
  const auto mixed = mixture_->forward(normed(x, mixture_norm_), x);
  return mx::add(
      (*dense_post_norm_)(dense, types_.activations),
      (*mixture_post_norm_)(mixed, types_.activations));
}

mx::array GraphLayer::normed(
    const mx::array& x,
    const std::optional<GraphNorm>& norm) const {
  return norm ? (*norm)(x, types_.activations)
              : mx::astype(x, types_.activations);
}

mx::array GraphLayer::compute(
    const mx::array& x,
    std::vector<GraphSequence>& sequences) {
  auto after = x;
  auto input = x;
  if (spec_.attention || spec_.recurrent) {
    input = normed(x, attention_norm_);
    after = join(x, mix(input, sequences), attention_post_norm_);
  }
  if (twin_) {
    after = mx::multiply(
        mx::add(after, twin_->forward(input)),
        scalar_like(M_SQRT1_2, after));
  }
  if (!spec_.feed_forward) {
    return after;
  }
  if (spec_.norm_placement == NormPlacement::parallel) {
    return join(after, feed_forward(input), std::nullopt);
  }
  if (mixture_ && dense_) {
    return join(after, feed_both(after), feed_forward_post_norm_);
  }
  const bool beside = spec_.norm_placement == NormPlacement::parallel_own_norms;
  const auto fed = normed(beside ? x : after, feed_forward_norm_);
  return join(after, feed_forward(fed), feed_forward_post_norm_);
}

mx::array GraphLayer::forward_streams(
    const mx::array& streams,
    const std::optional<mx::array>& own_input,
    std::vector<GraphSequence>& sequences) {
  const auto predicted = streams_->predict(streams);
  const auto active = stream_at(predicted, streams_->active());
  const auto corrected =
      streams_->correct(predicted, compute(active, sequences));
  if (!own_input) {
    return corrected;
  }
  // All streams but the first take what the layer's own embedding adds.
  const auto added =
      per_layer_->forward(streams_->scaled(corrected), *own_input);
  const auto count = corrected.shape(0);
  const auto tokens = corrected.shape(1);
  const auto dim = corrected.shape(2);
  const auto first = mx::slice(corrected, {0, 0, 0}, {1, tokens, dim});
  const auto others = mx::slice(corrected, {1, 0, 0}, {count, tokens, dim});
  return mx::concatenate(
      {first, mx::add(others, mx::expand_dims(added, 0))},
      0);
}

mx::array GraphLayer::forward(
    const mx::array& x,
    const std::optional<mx::array>& own_input,
    std::vector<GraphSequence>& sequences) {
  if (streams_) {
    return forward_streams(x, own_input, sequences);
  }
  auto y = compute(x, sequences);
  if (own_input) {
    y = mx::add(y, per_layer_->forward(y, *own_input));
  }
  if (output_scalar_) {
    y = mx::multiply(y, mx::astype(*output_scalar_, y.dtype()));
  }
  return y;
}

std::size_t GraphLayer::weight_bytes() const {
  const auto bytes = [](const auto& part) {
    return part ? part->weight_bytes() : std::size_t{0};
  };
  return bytes(latent_) + bytes(heads_) + bytes(recurrent_) + bytes(mixture_) +
         bytes(dense_) + bytes(twin_) + bytes(per_layer_) + bytes(streams_) +
         norm_bytes(attention_norm_) + norm_bytes(attention_post_norm_) +
         norm_bytes(feed_forward_norm_) + norm_bytes(feed_forward_post_norm_) +
         norm_bytes(dense_post_norm_) + norm_bytes(mixture_norm_) +
         norm_bytes(mixture_post_norm_) +
         (output_scalar_ ? output_scalar_->nbytes() : 0);
}

}  // namespace roofline
