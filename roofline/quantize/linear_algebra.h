// The little dense algebra that calibration needs, blocked over kernels/gemm:
// Cholesky factors and triangular inverses of symmetric float32 matrices.
#pragma once

#include <vector>

#include "roofline/base/thread_pool.h"

namespace roofline {

/// A square matrix, row-major.
struct SquareMatrix {
  int size = 0;
  std::vector<float> values;  ///< [size, size]

  float& at(int row, int col) { return values[index(row, col)]; }
  float at(int row, int col) const { return values[index(row, col)]; }
  const float* row(int r) const { return values.data() + index(r, 0); }

 private:
  std::size_t index(int row, int col) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(size) +
           static_cast<std::size_t>(col);
  }
};

/// Lower triangular L with L·Lᵀ = a; above the diagonal zeros. False when a
/// isn't positive definite (in float32).
bool cholesky(SquareMatrix& a, ThreadPool& pool);

/// The inverse of a lower triangular matrix.
SquareMatrix invert_lower(const SquareMatrix& lower, ThreadPool& pool);

/// Upper triangular U with Uᵀ·U = a⁻¹, a symmetric. What GPTQ walks along: row
/// j of U tells how an error in column j is best spread over the later ones.
/// False when a isn't positive definite.
bool inverse_root(const SquareMatrix& a, SquareMatrix& root, ThreadPool& pool);

}  // namespace roofline
