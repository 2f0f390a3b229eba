// Matrix products with many rows on both sides, what training is made of:
//   c[m, n] (+)= Σ_k a[m, k] · b[k, n]
// a is float32 with any strides (so its transpose costs nothing); b is a
// PackedMatrix in any format, as it is or transposed; sums are float32.
// b is decoded once, panel by panel, into the order in which the kernel reads
// it. For one or few rows dense/ and qmm/ are quicker: they decode in
// registers.
#pragma once

#include <cstddef>

#include "roofline/base/cpu_features.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/packed_matrix.h"

namespace roofline {

/// a[m, k] = data[m·row_stride + k·col_stride]
struct GemmLeft {
  const float* data = nullptr;
  std::ptrdiff_t row_stride = 0;
  std::ptrdiff_t col_stride = 1;
};

/// b[k, n]: w's row k and column n or, transposed, its row n and column k.
/// leading: floats from row to row of a float32 w; 0: w.cols.
struct GemmRight {
  PackedMatrix w;
  bool transposed = false;
  std::ptrdiff_t leading = 0;

  int depth() const { return transposed ? w.cols : w.rows; }
  int width() const { return transposed ? w.rows : w.cols; }
};

/// Contiguous float32 memory as a matrix.
PackedMatrix float_matrix(const float* data, int rows, int cols);

/// One instruction set's functions.
struct GemmKernels {
  const char* name;
  /// Columns of a panel.
  int panel;
  /// Turns rows[count][stride], of which `depth` values count, into a panel:
  /// out[k·panel + r]. Columns from count on become zero.
  void (*turn)(
      const float* rows,
      std::ptrdiff_t stride,
      int count,
      int depth,
      float* out);
  /// Decodes one group of 32 columns of one block of 16 rows of a quantized w:
  /// out[column·stride + row].
  void (*unpack)(
      const PackedMatrix& w,
      int block,
      int group,
      float* out,
      std::ptrdiff_t stride);
  /// c[rows, columns] (+)= a[rows, depth] · b, one panel's worth of columns
  /// (at most `panel`); b: [depth, leading], rows of at least the columns
  /// rounded up to whole vectors.
  void (*tile)(
      const GemmLeft& a,
      int rows,
      const float* b,
      std::ptrdiff_t leading,
      int depth,
      int columns,
      float* c,
      std::ptrdiff_t ldc,
      bool accumulate);
};

const GemmKernels& gemm_kernels();
const GemmKernels* gemm_kernels(Isa isa);

enum class GemmResult { replace, add };

enum class GemmType {
  f32,
  /// Both sides rounded to bfloat16, where there are instructions for it
  /// (has_bf16_gemm) and a is not transposed; else as f32.
  bf16,
};

/// Whether GemmType::bf16 does anything on this machine.
bool has_bf16_gemm();

/// c: [rows, ldc], b.width() columns of it. 2·rows·depth·width operations.
void gemm(
    const GemmLeft& a,
    int rows,
    const GemmRight& b,
    float* c,
    std::ptrdiff_t ldc,
    GemmResult result,
    ThreadPool& pool,
    GemmType type = GemmType::f32);

}  // namespace roofline
