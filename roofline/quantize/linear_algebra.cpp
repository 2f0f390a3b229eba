#include "roofline/quantize/linear_algebra.h"

#include <algorithm>
#include <cmath>

#include "roofline/kernels/gemm/gemm.h"

namespace roofline {

namespace {

/// Columns that are factored at a time; what is left is a large product.
constexpr int kBlock = 64;

/// b[rows, cols] inside row-major memory with `leading` floats a row.
GemmRight part(
    const float* data,
    int rows,
    int cols,
    int leading,
    bool transposed) {
  return {float_matrix(data, rows, cols), transposed, leading};
}

/// Factors the block [begin, end) on the diagonal, which earlier blocks have
/// been taken out of.
bool factor_diagonal(SquareMatrix& a, int begin, int end) {
  for (int col = begin; col < end; ++col) {
    double sum = a.at(col, col);
    for (int k = begin; k < col; ++k) {
      sum -= static_cast<double>(a.at(col, k)) * a.at(col, k);
    }
    if (!(sum > 0)) {
      return false;
    }
    const double pivot = std::sqrt(sum);
    a.at(col, col) = static_cast<float>(pivot);
    for (int row = col + 1; row < end; ++row) {
      double value = a.at(row, col);
      for (int k = begin; k < col; ++k) {
        value -= static_cast<double>(a.at(row, k)) * a.at(col, k);
      }
      a.at(row, col) = static_cast<float>(value / pivot);
    }
  }
  return true;
}

/// Solves x·Lᵀ = a for one row, L the block on the diagonal.
void solve_row(SquareMatrix& a, int row, int begin, int end) {
  for (int col = begin; col < end; ++col) {
    float value = a.at(row, col);
    for (int k = begin; k < col; ++k) {
      value -= a.at(row, k) * a.at(col, k);
    }
    a.at(row, col) = value / a.at(col, col);
  }
}

/// Rows from `end` on, columns from `end` on: a −= panel·panelᵀ.
void take_out(SquareMatrix& a, int begin, int end, ThreadPool& pool) {
  const int left = a.size - end;
  const int depth = end - begin;
  std::vector<float> minus(
      static_cast<std::size_t>(left) * static_cast<std::size_t>(depth));
  for (int row = 0; row < left; ++row) {
    for (int k = 0; k < depth; ++k) {
      minus[static_cast<std::size_t>(row * depth + k)] =
          -a.at(end + row, begin + k);
    }
  }
  std::vector<float> panel(minus.size());
  std::transform(minus.begin(), minus.end(), panel.begin(), std::negate<>());
  gemm(
      {minus.data(), depth, 1},
      left,
      part(panel.data(), left, depth, depth, true),
      &a.at(end, end),
      a.size,
      GemmResult::add,
      pool);
}

/// The inverse of the block [begin, end) on the diagonal, into `out`.
void invert_diagonal(
    const SquareMatrix& lower,
    int begin,
    int end,
    SquareMatrix& out) {
  for (int col = begin; col < end; ++col) {
    out.at(col, col) = 1.0f / lower.at(col, col);
    for (int row = col + 1; row < end; ++row) {
      double sum = 0;
      for (int k = col; k < row; ++k) {
        sum += static_cast<double>(lower.at(row, k)) * out.at(k, col);
      }
      out.at(row, col) = static_cast<float>(-sum / lower.at(row, row));
    }
  }
}

void flip(SquareMatrix& a) {
  std::reverse(a.values.begin(), a.values.end());
}

}  // namespace

bool cholesky(SquareMatrix& a, ThreadPool& pool) {
  for (int begin = 0; begin < a.size; begin += kBlock) {
    const int end = std::min(a.size, begin + kBlock);
    if (!factor_diagonal(a, begin, end)) {
      return false;
    }
    auto solve = [&](int piece, int) { solve_row(a, end + piece, begin, end); };
    pool.run(a.size - end, solve);
    if (end < a.size) {
      take_out(a, begin, end, pool);
    }
  }
  for (int row = 0; row < a.size; ++row) {
    for (int col = row + 1; col < a.size; ++col) {
      a.at(row, col) = 0;
    }
  }
  return true;
}

SquareMatrix invert_lower(const SquareMatrix& lower, ThreadPool& pool) {
  const int n = lower.size;
  SquareMatrix out{n, std::vector<float>(lower.values.size(), 0.0f)};
  std::vector<float> product(static_cast<std::size_t>(kBlock * n));
  std::vector<float> minus(static_cast<std::size_t>(kBlock * kBlock));
  for (int begin = 0; begin < n; begin += kBlock) {
    const int end = std::min(n, begin + kBlock);
    const int rows = end - begin;
    invert_diagonal(lower, begin, end, out);
    if (begin == 0) {
      continue;
    }
    // out[block, earlier] = −out[block, block]·(lower[block, earlier]·out).
    gemm(
        {lower.row(begin), n, 1},
        rows,
        part(out.values.data(), begin, begin, n, false),
        product.data(),
        n,
        GemmResult::replace,
        pool);
    for (int row = 0; row < rows; ++row) {
      for (int col = 0; col < rows; ++col) {
        minus[static_cast<std::size_t>(row * rows + col)] =
            -out.at(begin + row, begin + col);
      }
    }
    gemm(
        {minus.data(), rows, 1},
        rows,
        part(product.data(), rows, begin, n, false),
        &out.at(begin, 0),
        n,
        GemmResult::replace,
        pool);
  }
  return out;
}

bool inverse_root(const SquareMatrix& a, SquareMatrix& root, ThreadPool& pool) {
  // With rows and columns turned round, a = L·Lᵀ gives a = R·Rᵀ with R upper
  // triangular; then a⁻¹ = R⁻ᵀ·R⁻¹, so U = R⁻¹.
  SquareMatrix turned = a;
  flip(turned);
  if (!cholesky(turned, pool)) {
    return false;
  }
  root = invert_lower(turned, pool);
  flip(root);
  return true;
}

}  // namespace roofline
