#include "roofline/train/muon.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "roofline/kernels/gemm/gemm.h"

namespace roofline {

namespace {

using Floats = std::vector<float>;

void multiply(
    const GemmLeft& a,
    int rows,
    const GemmRight& b,
    Floats& c,
    GemmResult result) {
  gemm(a, rows, b, c.data(), b.width(), result, ThreadPool::global());
}

}  // namespace

void orthogonalize(std::span<float> g, int rows, int cols) {
  constexpr int kIterations = 5;
  constexpr float kA = 3.4445f;
  constexpr float kB = -4.7750f;
  constexpr float kC = 2.0315f;
  double sum = 0;
  for (const float value : g) {
    sum += static_cast<double>(value) * value;
  }
  const auto scale = static_cast<float>(1 / (std::sqrt(sum) + 1e-7));
  // The Gram matrix is of the shorter side.
  const bool wide = cols >= rows;
  const int n = std::min(rows, cols);
  const int m = std::max(rows, cols);
  Floats x(g.size());
  for (int r = 0; r < n; ++r) {
    for (int c = 0; c < m; ++c) {
      const auto from = static_cast<std::size_t>(
          wide ? std::ptrdiff_t{r} * cols + c : std::ptrdiff_t{c} * cols + r);
      x[static_cast<std::size_t>(std::ptrdiff_t{r} * m + c)] = g[from] * scale;
    }
  }
  const auto square = static_cast<std::size_t>(n) * static_cast<std::size_t>(n);
  Floats gram(square);
  Floats poly(square);
  Floats next(x.size());
  for (int i = 0; i < kIterations; ++i) {
    multiply(
        {x.data(), m, 1},
        n,
        {float_matrix(x.data(), n, m), true},
        gram,
        GemmResult::replace);
    // b·A + c·A², then x := a·x + that · x
    multiply(
        {gram.data(), n, 1},
        n,
        {float_matrix(gram.data(), n, n)},
        poly,
        GemmResult::replace);
    for (std::size_t k = 0; k < square; ++k) {
      poly[k] = kB * gram[k] + kC * poly[k];
    }
    for (std::size_t k = 0; k < x.size(); ++k) {
      next[k] = kA * x[k];
    }
    multiply(
        {poly.data(), n, 1},
        n,
        {float_matrix(x.data(), n, m)},
        next,
        GemmResult::add);
    x.swap(next);
  }
  for (int r = 0; r < n; ++r) {
    for (int c = 0; c < m; ++c) {
      const auto to = static_cast<std::size_t>(
          wide ? std::ptrdiff_t{r} * cols + c : std::ptrdiff_t{c} * cols + r);
      g[to] = x[static_cast<std::size_t>(std::ptrdiff_t{r} * m + c)];
    }
  }
}

}  // namespace roofline
