#include "roofline/model/graph_router.h"

#include <cmath>
#include <limits>

#include <mlx/fast.h>
#include <mlx/ops.h>

namespace roofline {

namespace {

/// The columns of the k largest values of each row of x [rows, columns].
mx::array best(const mx::array& x, int k) {
  const int columns = x.shape(-1);
  if (k == columns) {
    return mx::broadcast_to(
        mx::reshape(mx::arange(0, columns, 1, mx::uint32), {1, columns}),
        x.shape());
  }
  const auto order = mx::argpartition(mx::negative(x), k - 1, -1);
  auto end = order.shape();
  end.back() = k;
  return mx::slice(order, mx::Shape(end.size(), 0), end);
}

mx::array read_weight(
    const MixtureSpec& spec,
    const GraphWeights& weights,
    const std::string& name) {
  return mx::reshape(*weights.values(name), {spec.experts, -1});
}

/// Two softmaxes over what lies near the best and the second best expert
/// (arXiv 2409.12136). scores: [tokens, experts].
Routing mix_sparsely(const mx::array& scores, float jitter) {
  const mx::array never(-std::numeric_limits<float>::infinity());
  const mx::array tolerance(2.0f * jitter);
  const auto pick = [&](const mx::array& left) {
    const auto top = mx::max(left, -1, true);
    const auto chosen = mx::stop_gradient(mx::argmax(left, -1, true));
    const auto distance = mx::divide(
        mx::subtract(top, scores),
        mx::maximum(mx::abs(scores), top));
    const auto near = mx::where(mx::greater(distance, tolerance), never, left);
    const auto weight =
        mx::take_along_axis(mx::softmax(near, -1, true), chosen, -1);
    return std::pair(chosen, weight);
  };
  const auto [first, first_weight] = pick(scores);
  const auto [second, second_weight] =
      pick(mx::put_along_axis(scores, first, never, -1));
  return {
      mx::concatenate({first, second}, -1),
      mx::concatenate({first_weight, second_weight}, -1)};
}

}  // namespace

GraphRouter::GraphRouter(
    const MixtureSpec& spec,
    const NormSpec& norm,
    const std::string& prefix,
    const GraphWeights& weights)
    : spec_(spec),
      weight_(read_weight(spec, weights, prefix + "router")),
      bias_(weights.vector(prefix + "router.bias")),
      selection_(weights.vector(prefix + "router.selection")),
      input_scale_(weights.vector(prefix + "router.input_scale")),
      expert_scale_(weights.vector(prefix + "router.expert_scale")),
      norm_eps_(norm.eps) {
  hook_ = weights.addition_hook(prefix + "router", spec.experts, dim());
  hook_->stored.times = [w = weight_](const mx::array& x) {
    return mx::matmul(x, mx::transpose(w));
  };
  hook_->stored.squares = [w = weight_] { return mx::sum(mx::square(w), 1); };
  if (input_scale_) {
    const float share = 1.0f / std::sqrt(static_cast<float>(weight_.shape(1)));
    input_scale_ = mx::multiply(*input_scale_, mx::array(share));
  }
}

/// Groups are judged first; experts are chosen from those of the best ones.
mx::array GraphRouter::choose_in_groups(const mx::array& selection) const {
  const int tokens = selection.shape(0);
  const int size = spec_.experts / spec_.groups;
  const auto grouped = mx::reshape(selection, {tokens, spec_.groups, size});
  const auto judged = spec_.group_score == GroupScore::best
                          ? mx::max(grouped, -1)
                          : mx::sum(mx::topk(grouped, 2, -1), -1);
  const auto groups = best(judged, spec_.top_groups);
  const auto kept = mx::reshape(
      mx::take_along_axis(grouped, mx::expand_dims(groups, 2), 1),
      {tokens, spec_.top_groups * size});
  const auto within = best(kept, spec_.top_k);
  const mx::array width(static_cast<std::uint32_t>(size));
  const auto group =
      mx::take_along_axis(groups, mx::floor_divide(within, width), -1);
  return mx::add(mx::multiply(group, width), mx::remainder(within, width));
}

mx::array GraphRouter::choose(const mx::array& selection) const {
  return spec_.groups > 1 ? choose_in_groups(selection)
                          : best(selection, spec_.top_k);
}

Routing GraphRouter::route(const mx::array& x) const {
  auto input = mx::astype(x, mx::float32);
  if (input_scale_) {
    input = mx::fast::rms_norm(input, *input_scale_, norm_eps_);
  }
  auto logits =
      add_additions(input, mx::matmul(input, mx::transpose(weight_)), {hook_});
  if (bias_) {
    logits = mx::add(logits, *bias_);
  }
  if (spec_.score == ExpertScore::sparsemixer) {
    return mix_sparsely(logits, spec_.jitter);
  }
  const auto scores = spec_.score == ExpertScore::sigmoid
                          ? mx::sigmoid(logits)
                          : mx::softmax(logits, -1, true);
  // A choice has no gradient; the weights of what was chosen have one.
  const auto experts = mx::stop_gradient(
      choose(selection_ ? mx::add(scores, *selection_) : scores));
  auto weights = mx::take_along_axis(scores, experts, -1);
  if (spec_.renormalise) {
    // The reference adds as little to keep from dividing by zero.
    const mx::array little(std::max(spec_.least_sum, 1e-20f));
    weights =
        mx::divide(weights, mx::maximum(mx::sum(weights, -1, true), little));
  }
  if (spec_.scale != 1.0f) {
    weights = mx::multiply(weights, mx::array(spec_.scale));
  }
  if (expert_scale_) {
    weights = mx::multiply(weights, mx::take(*expert_scale_, experts, 0));
  }
  return {experts, weights};
}

std::size_t GraphRouter::bytes() const {
  return weight_.nbytes() + (bias_ ? bias_->nbytes() : 0) +
         (selection_ ? selection_->nbytes() : 0) +
         (input_scale_ ? input_scale_->nbytes() : 0) +
         (expert_scale_ ? expert_scale_->nbytes() : 0);
}

}  // namespace roofline
