// The products of a mixture of experts as one MLX op on the CPU: each row of x
// is multiplied with the matrix of its own expert. Only matrices of experts
// that some row names are read, each once. Differentiable with respect to x;
// the matrices are constant.
#pragma once

#include <memory>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/linear.h"
#include "roofline/kernels/packed_matrix.h"

namespace roofline {

/// One matrix [rows, cols] an expert, all alike in shape; they may differ in
/// format.
using ExpertMatrices = std::vector<PackedMatrix>;

/// y[i] = x[i] · experts[ids[i]]ᵀ. x: [n, cols] float32, float16 or bfloat16;
/// ids: [n] int32 or uint32; y: [n, rows] of x's type, summed in float32.
/// keep_alive owns the matrices' bytes. Runs on the CPU's
/// default stream. Throws UserError when shapes don't fit. An id that no
/// expert has is the caller's fault and not looked for.
mx::array expert_linear(
    const mx::array& x,
    const mx::array& ids,
    std::shared_ptr<const ExpertMatrices> experts,
    std::shared_ptr<const void> keep_alive,
    LinearMode mode = LinearMode::fast);

}  // namespace roofline
