// Dense matrix product: y = x · wᵀ with w in f32, f16 or bf16 as it lies in the
// checkpoint (row-major) and x, y and all sums in float32.
// Reads w once; 2·tokens·rows·cols operations.
#pragma once

#include "roofline/base/cpu_features.h"
#include "roofline/kernels/packed_matrix.h"

namespace roofline {

/// In which order a token's products are summed up.
enum class DenseOrder {
  quick,  ///< whichever is quickest for so many tokens
  alike,  ///< the same for one token as for any number
};

/// Guesses that a step checks with the token before them, at most.
constexpr int kMostCheckedTokens = 33;

struct DenseKernels {
  const char* name;
  /// Rows [row_begin, row_end) of w, tokens [token_begin, token_end).
  /// x [tokens, cols]; y [tokens, ldy].
  void (*product)(
      const PackedMatrix& w,
      int row_begin,
      int row_end,
      const float* x,
      int token_begin,
      int token_end,
      float* y,
      int ldy,
      DenseOrder order);
};

const DenseKernels& dense_kernels();
const DenseKernels* dense_kernels(Isa isa);

}  // namespace roofline
