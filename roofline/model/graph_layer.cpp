#include "roofline/model/graph_layer.h"

#include <cmath>

#include <fmt/format.h>
#include <mlx/compile.h>
#include <mlx/fast.h>
#include <mlx/ops.h>

namespace roofline {

namespace {

mx::array scalar(double value, const mx::array& like) {
  return mx::array(static_cast<float>(value), like.dtype());
}

mx::array gelu(const mx::array& x) {
  const auto inner = mx::erf(mx::multiply(x, scalar(M_SQRT1_2, x)));
  const auto half = mx::multiply(x, scalar(0.5, x));
  return mx::multiply(half, mx::add(inner, scalar(1.0, x)));
}

mx::array gelu_tanh(const mx::array& x) {
  const auto cube = mx::multiply(mx::multiply(x, x), x);
  const auto sum = mx::add(x, mx::multiply(cube, scalar(0.044715, x)));
  const double sqrt_2_over_pi = M_2_SQRTPI * M_SQRT1_2;
  const auto inner = mx::tanh(mx::multiply(sum, scalar(sqrt_2_over_pi, x)));
  const auto half = mx::multiply(x, scalar(0.5, x));
  return mx::multiply(half, mx::add(inner, scalar(1.0, x)));
}

mx::array activated(const mx::array& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return mx::multiply(x, mx::sigmoid(x));
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::relu:
      return mx::maximum(x, scalar(0.0, x));
    case Activation::relu_squared:
      return mx::square(mx::maximum(x, scalar(0.0, x)));
    case Activation::xielu:
      break;  // not an elementwise function of x alone
  }
  return x;
}

/// {x} or {gate, up} → {act(x)} or {act(gate)·up}.
std::function<std::vector<mx::array>(const std::vector<mx::array>&)>
make_activate(Activation activation, bool fuse) {
  const std::function<std::vector<mx::array>(const std::vector<mx::array>&)>
      plain = [activation](const std::vector<mx::array>& in) {
        auto y = activated(in[0], activation);
        return std::vector<mx::array>{
            in.size() == 1 ? y : mx::multiply(y, in[1])};
      };
  return fuse ? mx::compile(plain, /* shapeless = */ true) : plain;
}

mx::array columns(const mx::array& x, int begin, int count) {
  return mx::slice(x, {0, begin}, {x.shape(0), begin + count});
}

}  // namespace

GraphNorm::GraphNorm(
    const NormSpec& spec,
    const GraphWeights& weights,
    const std::string& name,
    mx::Dtype input)
    : spec_(spec) {
  weight_ = weights.vector(name);
  if (weight_) {
    const auto one = mx::array(1.0f);
    weight_ =
        mx::astype(spec.plus_one ? mx::add(*weight_, one) : *weight_, input);
  }
  if (spec.bias) {
    bias_ = weights.vector(name + ".bias");
  }
  if (bias_) {
    bias_ = mx::astype(*bias_, input);
  }
}

mx::array GraphNorm::operator()(const mx::array& x, mx::Dtype output) const {
  const auto y = spec_.kind == NormKind::rms
                     ? mx::fast::rms_norm(x, weight_, spec_.eps)
                     : mx::fast::layer_norm(x, weight_, bias_, spec_.eps);
  return mx::astype(y, output);
}

std::size_t GraphNorm::bytes() const {
  return (weight_ ? weight_->nbytes() : 0) + (bias_ ? bias_->nbytes() : 0);
}

GraphLayer::GraphLayer(
    const LayerSpec& spec,
    int index,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(spec), index_(index), types_(types) {
  const auto prefix = fmt::format("layers.{}.", index);
  const auto norm = [&](const char* name, mx::Dtype input) {
    return GraphNorm(spec.norm, weights, prefix + name, input);
  };
  const auto placement = spec.norm_placement;
  if (placement != NormPlacement::post) {
    attention_norm_ = norm("attention_norm", types.residual);
  }
  if (placement == NormPlacement::pre || placement == NormPlacement::sandwich) {
    feed_forward_norm_ = norm("feed_forward_norm", types.residual);
  }
  if (placement == NormPlacement::post ||
      placement == NormPlacement::sandwich) {
    attention_post_norm_ = norm("attention_post_norm", types.activations);
    feed_forward_post_norm_ = norm("feed_forward_post_norm", types.activations);
  }
  const auto& attention = *spec.attention;
  if (attention.qk_norm != QkNorm::none) {
    q_norm_ = norm("attention.q_norm", types.activations);
    k_norm_ = norm("attention.k_norm", types.activations);
  }
  if (attention.rope) {
    rope_.emplace(*attention.rope, attention.head_dim);
  }
  const std::vector<std::string> qkv = {
      prefix + "attention.q",
      prefix + "attention.k",
      prefix + "attention.v"};
  qkv_ = weights.matrix(qkv);
  output_ = weights.matrix(prefix + "attention.o");
  std::vector<std::string> up = {prefix + "feed_forward.up"};
  if (spec.feed_forward->gated) {
    up.insert(up.begin(), prefix + "feed_forward.gate");
  }
  up_ = weights.matrix(up);
  down_ = weights.matrix(prefix + "feed_forward.down");
  activate_ = make_activate(spec.feed_forward->activation, types.fuse);
}

/// q, k, v: [sequence.tokens, heads·head_dim], norm over whole rows done.
mx::array GraphLayer::attend_one(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    GraphSequence& sequence) {
  const auto& attention = *spec_.attention;
  const auto to_heads = [&](const mx::array& x, int heads) {
    return mx::reshape(x, {1, sequence.tokens, heads, attention.head_dim});
  };
  const auto prepare = [&](mx::array x, const std::optional<GraphNorm>& norm) {
    if (attention.qk_norm == QkNorm::per_head) {
      x = (*norm)(x, types_.activations);
    }
    x = mx::transpose(x, {0, 2, 1, 3});
    return rope_ ? (*rope_)(x, sequence.position, sequence.sequence_tokens) : x;
  };
  const auto queries = prepare(to_heads(q, attention.heads), q_norm_);
  const auto keys = prepare(to_heads(k, attention.kv_heads), k_norm_);
  const auto values =
      mx::transpose(to_heads(v, attention.kv_heads), {0, 2, 1, 3});
  store(*sequence.cache, index_, keys, values, sequence.position);
  const auto& mask = sequence.masks.get(
      sequence.cache->segments(index_),
      attention.window_tokens);
  const auto y = attend(queries, *sequence.cache, index_, attention, mask);
  return mx::reshape(
      mx::transpose(y, {0, 2, 1, 3}),
      {sequence.tokens, attention.heads * attention.head_dim});
}

mx::array GraphLayer::attention(
    const mx::array& x,
    std::vector<GraphSequence>& sequences) {
  const auto& attention = *spec_.attention;
  const auto q_size = attention.heads * attention.head_dim;
  const auto kv_size = attention.kv_heads * attention.head_dim;
  const auto qkv = linear(x, qkv_);
  auto q = columns(qkv, 0, q_size);
  auto k = columns(qkv, q_size, kv_size);
  const auto v = columns(qkv, q_size + kv_size, kv_size);
  if (attention.qk_norm == QkNorm::whole) {
    q = (*q_norm_)(q, types_.activations);
    k = (*k_norm_)(k, types_.activations);
  }
  std::vector<mx::array> outputs;
  for (auto& sequence : sequences) {
    const auto rows = [&](const mx::array& all) {
      const auto end = sequence.begin + sequence.tokens;
      return mx::slice(all, {sequence.begin, 0}, {end, all.shape(1)});
    };
    outputs.push_back(attend_one(rows(q), rows(k), rows(v), sequence));
  }
  return linear(
      outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 0),
      output_);
}

mx::array GraphLayer::feed_forward(const mx::array& x) const {
  const auto up = linear(x, up_);
  const auto hidden = spec_.feed_forward->hidden;
  const auto y =
      spec_.feed_forward->gated
          ? activate_({columns(up, 0, hidden), columns(up, hidden, hidden)})
          : activate_({up});
  return linear(y[0], down_);
}

/// x + scale·post_norm(y)
mx::array GraphLayer::join(
    const mx::array& x,
    const mx::array& y,
    const std::optional<GraphNorm>& post_norm) const {
  auto joined = post_norm ? (*post_norm)(y, types_.residual)
                          : mx::astype(y, types_.residual);
  if (spec_.residual_scale != 1.0f) {
    joined = mx::multiply(joined, scalar(spec_.residual_scale, joined));
  }
  return mx::add(x, joined);
}

mx::array GraphLayer::forward(
    const mx::array& x,
    std::vector<GraphSequence>& sequences) {
  const auto normed = [&](const mx::array& in,
                          const std::optional<GraphNorm>& norm) {
    return norm ? (*norm)(in, types_.activations)
                : mx::astype(in, types_.activations);
  };
  const auto input = normed(x, attention_norm_);
  const auto after = join(x, attention(input, sequences), attention_post_norm_);
  if (spec_.norm_placement == NormPlacement::parallel) {
    return join(after, feed_forward(input), std::nullopt);
  }
  const auto y = feed_forward(normed(after, feed_forward_norm_));
  return join(after, y, feed_forward_post_norm_);
}

std::size_t GraphLayer::weight_bytes() const {
  std::size_t sum =
      qkv_.bytes() + output_.bytes() + up_.bytes() + down_.bytes();
  for (const auto* norm :
       {&attention_norm_,
        &attention_post_norm_,
        &feed_forward_norm_,
        &feed_forward_post_norm_,
        &q_norm_,
        &k_norm_}) {
    sum += *norm ? (*norm)->bytes() : 0;
  }
  return sum;
}

}  // namespace roofline
