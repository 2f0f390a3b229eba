#include "roofline/model/graph_feed_forward.h"

#include <algorithm>
#include <cmath>

#include <mlx/ops.h>

#include "roofline/kernels/train_ops.h"

namespace roofline {

namespace {

/// The activation's scalars: from the spec, or tensors of the layer's own.
std::vector<mx::array> xielu_scalars(
    const FeedForwardSpec& spec,
    const std::string& prefix,
    const GraphWeights& weights) {
  const Xielu given = spec.xielu.value_or(Xielu{});
  const std::pair<const char*, float> scalars[] = {
      {"xielu.alpha_p", given.alpha_p},
      {"xielu.alpha_n", given.alpha_n},
      {"xielu.beta", given.beta},
      {"xielu.eps", given.eps}};
  std::vector<mx::array> out;
  for (const auto& [name, other] : scalars) {
    const auto stored = weights.vector(prefix + name);
    out.push_back(stored ? mx::reshape(*stored, {}) : mx::array(other));
  }
  return out;
}

/// The quantile of the normal distribution, by Newton's method. 0 < share < 1.
double normal_quantile(double share) {
  double x = 0;
  for (int i = 0; i < 60; ++i) {
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    const double error = 0.5 * std::erfc(-x / M_SQRT2) - share;
    x -= std::clamp(error / density, -0.5, 0.5);
  }
  return x;
}

/// max(0, x − mean − Φ⁻¹(share)·σ), over the last axis.
mx::array sparse(const mx::array& x, float share) {
  const auto mean = mx::mean(x, -1, /* keepdims = */ true);
  const auto deviation =
      mx::sqrt(mx::mean(mx::square(mx::subtract(x, mean)), -1, true));
  const auto bend = mx::add(
      mean,
      mx::multiply(deviation, scalar_like(normal_quantile(share), x)));
  return mx::maximum(mx::subtract(x, bend), scalar_like(0.0, x));
}

}  // namespace

GraphFeedForward::GraphFeedForward(
    const FeedForwardSpec& spec,
    const NormSpec& norm,
    const std::string& prefix,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(spec),
      types_(types),
      own_kernels_(weights.own_kernels()),
      activate_(make_activate(spec.activation, types.fuse)) {
  std::vector<std::string> up = {prefix + "up"};
  if (spec.gated) {
    up.insert(up.begin(), prefix + "gate");
  }
  up_ = weights.matrix(up);
  down_ = weights.matrix(prefix + "down");
  if (spec.hidden_norm) {
    hidden_norm_
        .emplace(norm, weights, prefix + "hidden_norm", types.activations);
  }
  if (spec.activation == Activation::xielu) {
    xielu_ = xielu_scalars(spec, prefix, weights);
  }
}

mx::array GraphFeedForward::hidden(const mx::array& up) const {
  if (spec_.activation == Activation::xielu) {
    std::vector<mx::array> in = {up};
    in.insert(in.end(), xielu_.begin(), xielu_.end());
    return activate_(in)[0];
  }
  const bool plain = spec_.gate_scale == 1.0f && !spec_.gate_sparsity;
  if (own_kernels_ && plain) {
    return activate_rows(up, spec_.activation, spec_.gated);
  }
  if (!spec_.gated) {
    return activate_({up})[0];
  }
  auto gate = columns(up, 0, spec_.hidden);
  if (spec_.gate_scale != 1.0f) {
    gate = mx::multiply(gate, scalar_like(spec_.gate_scale, gate));
  }
  if (spec_.gate_sparsity) {
    gate = sparse(gate, *spec_.gate_sparsity);
  }
  return activate_({gate, columns(up, spec_.hidden, spec_.hidden)})[0];
}

mx::array GraphFeedForward::forward(const mx::array& x) const {
  auto y = hidden(linear(x, up_));
  if (hidden_norm_) {
    y = (*hidden_norm_)(y, types_.activations);
  }
  const auto out = linear(y, down_);
  return spec_.output_scale == 1.0f
             ? out
             : mx::multiply(out, scalar_like(spec_.output_scale, out));
}

std::size_t GraphFeedForward::weight_bytes() const {
  std::size_t sum = up_.bytes() + down_.bytes() + norm_bytes(hidden_norm_);
  for (const auto& each : xielu_) {
    sum += each.nbytes();
  }
  return sum;
}

}  // namespace roofline
