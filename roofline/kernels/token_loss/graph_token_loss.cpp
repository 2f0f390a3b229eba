#include "roofline/kernels/token_loss/graph_token_loss.h"

#include <algorithm>
#include <optional>

#include <mlx/ops.h>
#include <mlx/transforms.h>

namespace roofline {

namespace {

/// Rows that go through the head at once: some 0.5 GB of logits for the largest
/// vocabularies.
constexpr int kRows = 512;

using Arrays = std::vector<mx::array>;

mx::array log_softmax(const mx::array& logits) {
  return mx::subtract(logits, mx::logsumexp(logits, 1, /*keepdims=*/true));
}

/// A few rows: what the head reads, and what they are to predict.
struct Rows {
  mx::array hidden;
  mx::array targets;
  std::optional<mx::array> teachers_hidden;
};

/// The loss of each: −log p, or what a teacher makes of it.
mx::array losses_of(
    const Rows& rows,
    const TokenHead& head,
    const TokenTargets& how) {
  const auto logits = head.logits(rows.hidden);
  const auto of_target =
      mx::take_along_axis(logits, mx::expand_dims(rows.targets, 1), 1);
  const auto nll =
      mx::subtract(mx::logsumexp(logits, 1), mx::squeeze(of_target, 1));
  if (!how.teacher) {
    return nll;
  }
  const auto& teacher = *how.teacher;
  const float t = teacher.temperature;
  const auto theirs = log_softmax(mx::divide(
      mx::stop_gradient(teacher.head.logits(*rows.teachers_hidden)),
      mx::array(t)));
  const auto own = log_softmax(mx::divide(logits, mx::array(t)));
  const auto divergence =
      mx::sum(mx::multiply(mx::exp(theirs), mx::subtract(theirs, own)), 1);
  return mx::add(
      mx::multiply(nll, mx::array(1 - teacher.share)),
      mx::multiply(divergence, mx::array(teacher.share * t * t)));
}

/// The same, whose logits don't stay for the gradient. A trained head isn't an
/// argument of what is computed again, so that with one they must.
mx::array losses_again(
    const Rows& rows,
    const TokenHead& head,
    const TokenTargets& how) {
  if (head.trained || head.bias_is_trained) {
    return losses_of(rows, head, how);
  }
  const auto run = [rows, head, how](const Arrays& in) {
    return Arrays{
        losses_of({in[0], rows.targets, rows.teachers_hidden}, head, how)};
  };
  return mx::checkpoint(run)({rows.hidden})[0];
}

std::vector<std::int32_t> rows_that_count(const TokenTargets& targets) {
  std::vector<std::int32_t> rows;
  for (std::size_t t = 0; t < targets.weights.size(); ++t) {
    if (targets.weights[t] != 0.0f) {
      rows.push_back(static_cast<std::int32_t>(t));
    }
  }
  return rows;
}

/// The rows' values at their places, zero elsewhere.
mx::array spread(const mx::array& values, const mx::array& rows, int tokens) {
  return mx::put_along_axis(mx::zeros({tokens}), rows, values, 0);
}

}  // namespace

TokenLoss graph_token_loss(
    const mx::array& hidden,
    const TokenHead& head,
    const TokenTargets& targets) {
  const int tokens = hidden.shape(0);
  const auto rows = rows_that_count(targets);
  const int count = static_cast<int>(rows.size());
  if (count == 0) {
    return {mx::zeros({1}), mx::zeros({tokens})};
  }
  std::vector<std::int32_t> wanted;
  for (const auto row : rows) {
    wanted.push_back(targets.targets[static_cast<std::size_t>(row)]);
  }
  const mx::array at(rows.data(), {count});
  const mx::array ids(wanted.data(), {count});
  const auto pick = [&](const mx::array& all) {
    return count == tokens ? all : mx::take(all, at, 0);
  };
  const auto inputs = pick(hidden);
  std::optional<mx::array> teachers;
  if (targets.teacher) {
    teachers = pick(targets.teacher->hidden);
  }
  Arrays pieces;
  for (int first = 0; first < count; first += kRows) {
    const int end = std::min(count, first + kRows);
    const auto part = [&](const mx::array& all) {
      return mx::slice(all, {first, 0}, {end, all.shape(1)});
    };
    Rows rows_here{part(inputs), mx::slice(ids, {first}, {end}), {}};
    if (teachers) {
      rows_here.teachers_hidden = part(*teachers);
    }
    pieces.push_back(losses_again(rows_here, head, targets));
  }
  const auto nll = pieces.size() == 1 ? pieces[0] : mx::concatenate(pieces, 0);
  const auto at_all = mx::stop_gradient(spread(nll, at, tokens));

  auto weights = targets.weights;
  auto constant = mx::zeros({1});
  if (targets.reweigh) {
    auto known = mx::contiguous(at_all);
    mx::eval(known);
    const double loss = targets.reweigh(
        {known.data<float>(), static_cast<std::size_t>(tokens)},
        weights);
    constant = mx::array({static_cast<float>(loss)});
  }
  const auto factors = mx::take(mx::array(weights.data(), {tokens}), at, 0);
  const auto sum = mx::sum(mx::multiply(factors, nll), 0, /*keepdims=*/true);
  // The weights are the loss's derivatives: its value comes from reweigh().
  const auto loss =
      targets.reweigh
          ? mx::add(constant, mx::subtract(sum, mx::stop_gradient(sum)))
          : sum;
  return {loss, at_all};
}

}  // namespace roofline
