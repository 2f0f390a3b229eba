#include "roofline/model/graph_streams.h"

#include <cmath>

#include <fmt/format.h>
#include <mlx/ops.h>

namespace roofline {

namespace {

mx::array root_mean_square(const mx::array& x) {
  return mx::sqrt(mx::mean(mx::square(x), -1, /* keepdims = */ true));
}

/// x with the magnitude given, as the reference bounds it.
mx::array at_magnitude(const mx::array& x, const mx::array& magnitude) {
  const auto squares = mx::mean(mx::square(x), -1, /* keepdims = */ true);
  const auto own = mx::sqrt(mx::maximum(squares, scalar_like(1e-5, squares)));
  return mx::divide(mx::multiply(x, magnitude), own);
}

}  // namespace

mx::array stream_at(const mx::array& streams, int index) {
  const auto tokens = streams.shape(1);
  const auto dim = streams.shape(2);
  return mx::reshape(
      mx::slice(streams, {index, 0, 0}, {index + 1, tokens, dim}),
      {tokens, dim});
}

GraphStreams::GraphStreams(
    const ModelSpec& spec,
    const GraphWeights& weights,
    const GraphTypes& types)
    : types_(types) {
  for (int i = 0; i + 1 < spec.streams->count; ++i) {
    in_.push_back(weights.matrix(fmt::format("streams.in.{}", i)));
    out_.push_back(weights.matrix(fmt::format("streams.out.{}", i)));
  }
}

mx::array GraphStreams::split(const mx::array& x) const {
  const auto magnitude = root_mean_square(x);
  std::vector<mx::array> streams = {x};
  for (const auto& matrix : in_) {
    const auto y = linear(mx::astype(x, types_.activations), matrix);
    streams.push_back(at_magnitude(mx::astype(y, x.dtype()), magnitude));
  }
  return mx::stack(streams, 0);
}

mx::array GraphStreams::join(const mx::array& streams) const {
  const auto first = stream_at(streams, 0);
  const auto magnitude = root_mean_square(first);
  auto sum = first;
  for (std::size_t i = 0; i < out_.size(); ++i) {
    const auto x = stream_at(streams, static_cast<int>(i) + 1);
    const auto y = linear(mx::astype(x, types_.activations), out_[i]);
    sum = mx::add(sum, at_magnitude(mx::astype(y, x.dtype()), magnitude));
  }
  return mx::divide(sum, scalar_like(streams.shape(0), sum));
}

std::size_t GraphStreams::weight_bytes() const {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < in_.size(); ++i) {
    sum += in_[i].bytes() + out_[i].bytes();
  }
  return sum;
}

GraphStreamLayer::GraphStreamLayer(
    const AlternatingStreams& spec,
    const NormSpec& norm,
    int dim,
    const std::string& prefix,
    const GraphWeights& weights,
    const GraphTypes& types)
    : spec_(spec),
      dim_(dim),
      types_(types),
      route_(weights.matrix(prefix + "route")),
      predict_(weights.matrix(prefix + "predict")),
      correct_(weights.matrix(prefix + "correct")),
      route_norm_(norm, weights, prefix + "route_norm", types.residual) {
  if (spec.scale_corrected) {
    output_scale_ = weights.vector(prefix + "output_scale");
  }
}

/// tanh(route · norm(x) / dim): [tokens, count].
mx::array GraphStreamLayer::routed(const mx::array& x) const {
  auto input = route_norm_(x, types_.activations);
  input = mx::multiply(input, scalar_like(1.0 / dim_, input));
  return mx::tanh(linear(input, route_));
}

mx::array GraphStreamLayer::predict(const mx::array& streams) const {
  const auto count = spec_.count;
  const auto tokens = streams.shape(1);
  const auto dim = streams.shape(2);
  // [tokens, out, in]: how much of each stream goes into which.
  auto mix = linear(routed(stream_at(streams, spec_.active)), predict_);
  mix = mx::reshape(mx::astype(mix, streams.dtype()), {tokens, count, count});
  const auto by_token = mx::transpose(streams, {1, 0, 2});
  const auto mixed =
      mx::reshape(mx::matmul(mix, by_token), {tokens, count, dim});
  return mx::add(streams, mx::transpose(mixed, {1, 0, 2}));
}

mx::array GraphStreamLayer::correct(
    const mx::array& predictions,
    const mx::array& computed) const {
  const auto tokens = predictions.shape(1);
  const auto news =
      mx::subtract(computed, stream_at(predictions, spec_.active));
  auto shares = linear(routed(computed), correct_);
  shares = mx::add(shares, scalar_like(1.0, shares));
  shares = mx::transpose(mx::astype(shares, predictions.dtype()));
  return mx::add(
      predictions,
      mx::multiply(
          mx::expand_dims(news, 0),
          mx::reshape(shares, {spec_.count, tokens, 1})));
}

mx::array GraphStreamLayer::scaled(const mx::array& corrected) const {
  const auto x = stream_at(corrected, spec_.active);
  return output_scale_ ? mx::multiply(x, mx::astype(*output_scale_, x.dtype()))
                       : x;
}

std::size_t GraphStreamLayer::weight_bytes() const {
  return route_.bytes() + predict_.bytes() + correct_.bytes() +
         route_norm_.bytes() + (output_scale_ ? output_scale_->nbytes() : 0);
}

}  // namespace roofline
