// The products of a mixture of experts whose codes stay while their scales and
// offsets are trained: each row of x is multiplied with the matrix of its own
// expert. One expert's matrix is decoded at a time, and its gradient is folded
// to groups right away (coded_weight.h).
#pragma once

#include <memory>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/coded_weight.h"

namespace roofline {

/// Codes of one expert or, a stack by rows, of all.
struct CodedStack {
  std::shared_ptr<const TrainedCodes> codes;
  mx::array scales, offsets;  ///< [rows, groups] float32
};

/// y[i] = x[i] · experts[ids[i]]ᵀ. x: [n, cols] float32; ids: [n], none that no
/// expert has; stacks: one for all experts, or one for each. y: [n, rows].
/// Differentiable with respect to x, scales and offsets. Throws BugError when
/// shapes don't fit.
mx::array coded_expert_linear(
    const mx::array& x,
    const mx::array& ids,
    const std::vector<CodedStack>& stacks,
    int experts);

}  // namespace roofline
