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

void InputStatistics::add_lag(
    const float* wanted,
    const float* x,
    int tokens,
    ThreadPool& pool) {
  const int n = cols();
  if (lag_.size == 0) {
    lag_.size = n;
    lag_.values.assign(gram_.values.size(), 0.0f);
  }
  std::vector<float> missing(
      static_cast<std::size_t>(tokens) * static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < missing.size(); ++i) {
    missing[i] = wanted[i] - x[i];
  }
  gemm(
      {missing.data(), 1, n},
      n,
      {float_matrix(x, tokens, n)},
      lag_.values.data(),
      n,
      GemmResult::add,
      pool);
}

SquareMatrix InputStatistics::lag() const {
  SquareMatrix mean = lag_;
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

SquareMatrix filled_up(const InputStatistics& few, const InputStatistics& all) {
  SquareMatrix mixed = few.moments();
  const SquareMatrix more = all.moments();
  const double own =
      static_cast<double>(few.tokens()) /
      static_cast<double>(few.tokens() + std::max(few.cols(), 1));
  for (std::size_t i = 0; i < mixed.values.size(); ++i) {
    mixed.values[i] = static_cast<float>(
        own * static_cast<double>(mixed.values[i]) +
        (1 - own) * static_cast<double>(more.values[i]));
  }
  return mixed;
}

void make_up_for_lag(
    FloatMatrix& weights,
    const SquareMatrix& lag,
    const SquareMatrix& moments,
    float share,
    ThreadPool& pool) {
  SquareMatrix root;
  if (lag.size != weights.cols || !inverse_root(moments, root, pool)) {
    return;
  }
  const auto cols = static_cast<std::size_t>(weights.cols);
  std::vector<float> one, two;
  for (int first = 0; first < weights.rows; first += kTileRows) {
    const int rows = std::min(kTileRows, weights.rows - first);
    float* own = weights.values.data() + static_cast<std::size_t>(first) * cols;
    const std::size_t count = static_cast<std::size_t>(rows) * cols;
    one.resize(count);
    two.resize(count);
    const auto times =
        [&](const float* a, const SquareMatrix& b, bool turned, float* out) {
          gemm(
              {a, weights.cols, 1},
              rows,
              {float_matrix(b.values.data(), b.size, b.size), turned},
              out,
              weights.cols,
              GemmResult::replace,
              pool);
        };
    times(own, lag, false, one.data());
    times(one.data(), root, true, two.data());
    times(two.data(), root, false, one.data());
    for (std::size_t i = 0; i < count; ++i) {
      own[i] += share * one[i];
    }
  }
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
