#include "roofline/kernels/token_loss/graph_token_loss.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <mlx/ops.h>
#include <mlx/transforms.h>

namespace roofline {

namespace {

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

/// The loss of each: −log p, or what a teacher makes of it. `values`: of the
/// head's parameters.
mx::array losses_of(
    const Rows& rows,
    const Arrays& values,
    const TokenHead& head,
    const TokenTargets& how) {
  const auto logits = head.logits(rows.hidden, values);
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
      mx::stop_gradient(
          teacher.head.logits(*rows.teachers_hidden, teacher.head.parameters)),
      mx::array(t)));
  const auto own = log_softmax(mx::divide(logits, mx::array(t)));
  const auto divergence =
      mx::sum(mx::multiply(mx::exp(theirs), mx::subtract(theirs, own)), 1);
  return mx::add(
      mx::multiply(nll, mx::array(1 - teacher.share)),
      mx::multiply(divergence, mx::array(teacher.share * t * t)));
}

/// The losses of many rows and their gradient, a few rows after the other: each
/// few wait for those before, since otherwise the logits of all of them would
/// be there at once.
class RowLosses {
 public:
  RowLosses(Rows all, TokenHead head, TokenTargets how, int at_once)
      : all_(std::move(all)),
        head_(std::move(head)),
        how_(std::move(how)),
        at_once_(at_once) {}

  /// {hidden, parameters …} → {losses [rows]}
  Arrays losses(const Arrays& in) const {
    const auto values = values_of(in);
    Arrays pieces;
    for (int first = 0; first < rows(); first += at_once_) {
      Rows few = take(in[0], first);
      wait_for(pieces, few.hidden);
      pieces.push_back(losses_of(few, values, head_, how_));
    }
    return {joined(pieces)};
  }

  /// What they are differentiated to, given the losses' own derivatives.
  Arrays gradients(const Arrays& in, const mx::array& outer) const {
    const auto values = values_of(in);
    Arrays pieces;
    Arrays sums;
    Arrays before;
    for (int first = 0; first < rows(); first += at_once_) {
      Rows few = take(in[0], first);
      wait_for(before, few.hidden);
      const auto run = [&](const Arrays& arguments) {
        const Rows here{arguments[0], few.targets, few.teachers_hidden};
        return Arrays{losses_of(here, values_of(arguments), head_, how_)};
      };
      Arrays arguments = values;
      arguments.insert(arguments.begin(), few.hidden);
      const auto part = mx::slice(outer, {first}, {end_of(first)});
      auto found = mx::vjp(run, arguments, {part}).second;
      pieces.push_back(found[0]);
      for (std::size_t i = 1; i < found.size(); ++i) {
        if (first == 0) {
          sums.push_back(found[i]);
        } else {
          sums[i - 1] = mx::add(sums[i - 1], found[i]);
        }
      }
      before = sums;
      before.push_back(pieces.back());
    }
    sums.insert(sums.begin(), joined(pieces));
    return sums;
  }

 private:
  static Arrays values_of(const Arrays& in) {
    return {in.begin() + 1, in.end()};
  }
  static mx::array joined(const Arrays& pieces) {
    return pieces.size() == 1 ? pieces[0] : mx::concatenate(pieces, 0);
  }
  static void wait_for(const Arrays& before, mx::array& hidden) {
    if (!before.empty()) {
      hidden = mx::depends({hidden}, before)[0];
    }
  }
  int rows() const { return all_.targets.shape(0); }
  int end_of(int first) const { return std::min(rows(), first + at_once_); }

  Rows take(const mx::array& hidden, int first) const {
    const auto part = [&](const mx::array& all) {
      return mx::slice(all, {first, 0}, {end_of(first), all.shape(1)});
    };
    Rows few{
        part(hidden),
        mx::slice(all_.targets, {first}, {end_of(first)}),
        {}};
    if (all_.teachers_hidden) {
      few.teachers_hidden = part(*all_.teachers_hidden);
    }
    return few;
  }

  Rows all_;
  TokenHead head_;
  TokenTargets how_;
  int at_once_;
};

/// −log p [rows], whose logits are computed again for the gradient.
mx::array losses_again(
    const std::shared_ptr<const RowLosses>& rows,
    Arrays in) {
  const auto run = [rows](const Arrays& arguments) {
    return rows->losses(arguments);
  };
  const auto gradient =
      [rows](const Arrays& arguments, const Arrays& outer, const Arrays&) {
        return rows->gradients(arguments, outer[0]);
      };
  return mx::custom_vjp(run, gradient)(in)[0];
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
    const TokenTargets& targets,
    std::int64_t most_logits) {
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
  // Nothing is computed for a shape.
  const int vocabulary =
      head.logits(
              mx::slice(inputs, {0, 0}, {1, inputs.shape(1)}),
              head.parameters)
          .shape(1);
  const auto at_once = std::max<std::int64_t>(1, most_logits / vocabulary);
  Arrays in = head.parameters;
  in.insert(in.begin(), inputs);
  const auto nll = losses_again(
      std::make_shared<const RowLosses>(
          Rows{inputs, ids, teachers},
          head,
          targets,
          static_cast<int>(std::min<std::int64_t>(count, at_once))),
      std::move(in));
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
