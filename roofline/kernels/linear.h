// The matrix product as an MLX op on the CPU: y = x · wᵀ with w packed or as it
// lies in the checkpoint. It is differentiable with respect to x; w is
// constant. For graphs that are built op by op; a whole decoder has block/.
#pragma once

#include <memory>

#include <mlx/array.h>
#include <mlx/utils.h>

#include "roofline/kernels/packed_matrix.h"

namespace roofline {

namespace mx = mlx::core;

enum class LinearMode {
  /// x in 15 bits where w is quantized (qmm.h); many rows on tiles where the
  /// machine has them (bf16_product.h)
  fast,
  exact,  ///< x in float32
  /// With many rows x and w in bfloat16 where the machine has instructions for
  /// it, forward and backward; else exact.
  bf16,
};

/// y = x · wᵀ. x: [..., cols] float32, float16 or bfloat16; y: [..., rows] of
/// the same type, summed in float32. keep_alive owns w's bytes and lives as
/// long as the graph. The stream must be a CPU's; none means the default one.
/// Reads w once. Throws UserError when the last axis or the type don't fit.
mx::array linear(
    const mx::array& x,
    const PackedMatrix& w,
    std::shared_ptr<const void> keep_alive,
    LinearMode mode = LinearMode::fast,
    mx::StreamOrDevice s = {});

/// x = y · w, the product with the matrix as it is not transposed: the gradient
/// of linear; exact where linear is fast. y: [..., rows]; x: [..., cols].
mx::array linear_transposed(
    const mx::array& y,
    const PackedMatrix& w,
    std::shared_ptr<const void> keep_alive,
    mx::StreamOrDevice s = {},
    LinearMode mode = LinearMode::exact);

}  // namespace roofline
