#include "roofline/quantize/input_statistics.h"

#include <algorithm>
#include <cmath>

#include "roofline/kernels/gemm/gemm.h"

namespace roofline {

namespace {

/// Rows whose products are held at once.
constexpr int kTileRows = 256;

}  // namespace

InputStatistics::InputStatistics(int cols)
    : gram_{cols, {}}, magnitudes_(static_cast<std::size_t>(cols), 0.0) {
  const auto n = static_cast<std::size_t>(cols);
  gram_.values.assign(n * n, 0.0f);
}

void InputStatistics::add(const float* x, int tokens, ThreadPool& pool) {
  if (tokens == 0) {
    return;
  }
  const int n = cols();
  gemm(
      {x, 1, n},
      n,
      {float_matrix(x, tokens, n)},
      gram_.values.data(),
      n,
      GemmResult::add,
      pool);
  for (int t = 0; t < tokens; ++t) {
    const float* row = x + static_cast<std::size_t>(t) * magnitudes_.size();
    for (std::size_t i = 0; i < magnitudes_.size(); ++i) {
      magnitudes_[i] += static_cast<double>(std::abs(row[i]));
    }
  }
  tokens_ += tokens;
}

SquareMatrix InputStatistics::moments() const {
  SquareMatrix mean = gram_;
  const float share = tokens_ == 0 ? 0.0f : 1.0f / static_cast<float>(tokens_);
  for (float& value : mean.values) {
    value *= share;
  }
  return mean;
}

std::vector<float> InputStatistics::magnitudes() const {
  std::vector<float> mean(magnitudes_.size());
  std::transform(
      magnitudes_.begin(),
      magnitudes_.end(),
      mean.begin(),
      [this](double sum) {
        return static_cast<float>(
            tokens_ == 0 ? 0.0 : sum / static_cast<double>(tokens_));
      });
  return mean;
}

SquareMatrix damped(SquareMatrix moments, float share) {
  double trace = 0;
  for (int i = 0; i < moments.size; ++i) {
    trace += static_cast<double>(moments.at(i, i));
  }
  const auto extra =
      static_cast<float>(share * trace / std::max(moments.size, 1));
  for (int i = 0; i < moments.size; ++i) {
    float& value = moments.at(i, i);
    value += value == 0.0f && extra == 0.0f ? 1.0f : extra;
  }
  return moments;
}

double output_error(
    const FloatMatrix& weights,
    const FloatMatrix& rounded,
    const SquareMatrix& moments,
    ThreadPool& pool) {
  const auto cols = static_cast<std::size_t>(weights.cols);
  double sum = 0;
  std::vector<float> delta, product;
  for (int first = 0; first < weights.rows; first += kTileRows) {
    const int rows = std::min(kTileRows, weights.rows - first);
    const std::size_t begin = static_cast<std::size_t>(first) * cols;
    const std::size_t count = static_cast<std::size_t>(rows) * cols;
    delta.resize(count);
    product.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      delta[i] = rounded.values[begin + i] - weights.values[begin + i];
    }
    gemm(
        {delta.data(), weights.cols, 1},
        rows,
        {float_matrix(moments.values.data(), moments.size, moments.size)},
        product.data(),
        weights.cols,
        GemmResult::replace,
        pool);
    for (std::size_t i = 0; i < count; ++i) {
      sum += static_cast<double>(delta[i]) * product[i];
    }
  }
  return sum;
}

}  // namespace roofline
