// Random matrices and inputs for the tests of quantization.
#pragma once

#include <filesystem>
#include <random>
#include <string>

#include "roofline/quantize/codes.h"
#include "roofline/quantize/input_statistics.h"

namespace roofline::testing {

/// 4 bits in groups of 32.
inline const MatrixFormat kFour{QuantMode::affine, 4, 32};

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(ROOFLINE_GOLDENS) / name;
}

inline FloatMatrix random_matrix(int rows, int cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  FloatMatrix matrix{rows, cols, {}};
  matrix.values.resize(static_cast<std::size_t>(rows * cols));
  for (float& value : matrix.values) {
    value = normal(random);
  }
  return matrix;
}

/// Second moments of inputs that hang together: each is a mixture of few
/// sources, with some noise, and a few columns are loud.
inline SquareMatrix correlated_moments(int cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  const int sources = cols / 4;
  const FloatMatrix mixing = random_matrix(sources, cols, seed + 1);
  InputStatistics statistics(cols);
  std::vector<float> x(static_cast<std::size_t>(cols));
  for (int token = 0; token < 4 * cols; ++token) {
    std::vector<float> source(static_cast<std::size_t>(sources));
    for (float& value : source) {
      value = normal(random);
    }
    for (int c = 0; c < cols; ++c) {
      float sum = 0.1f * normal(random);
      for (int s = 0; s < sources; ++s) {
        sum += 20 * source[static_cast<std::size_t>(s)] * mixing.row(s)[c];
      }
      x[static_cast<std::size_t>(c)] = c % 17 == 0 ? 8 * sum : sum;
    }
    statistics.add(x.data(), 1, ThreadPool::global());
  }
  return damped(statistics.moments(), 0.01f);
}

inline double error_of(
    const CodeMatrix& codes,
    const FloatMatrix& weights,
    const SquareMatrix& moments) {
  auto& pool = ThreadPool::global();
  return output_error(weights, decode(codes, pool), moments, pool);
}

}  // namespace roofline::testing
