// Improves a matrix in codes for given inputs: scales and biases by least
// squares with the codes held, then codes one by one with scales held, each
// step lowering the error at the matrix's output. What GPTQ decides greedily
// is looked at again here.
#pragma once

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/codes.h"
#include "roofline/quantize/linear_algebra.h"

namespace roofline {

/// One after the other, `rounds` times. Affine formats; for small floats only
/// the codes change. moments: mean of x·xᵀ, damped. The output error never
/// grows, but for the rounding of scales. Each round takes about
/// 4·rows·cols² operations.
void refine(
    CodeMatrix& matrix,
    const FloatMatrix& weights,
    const SquareMatrix& moments,
    int rounds,
    ThreadPool& pool);

/// Scales and biases of every group, together for each row, so that
/// tr(Δ·M·Δᵀ) is least for these codes. Rounds them to their stored type.
void fit_scales(
    CodeMatrix& matrix,
    const FloatMatrix& weights,
    const SquareMatrix& moments,
    ThreadPool& pool);

/// Walks along each row and gives each code the value that is best beside the
/// others'. Returns how many codes changed.
std::int64_t descend_codes(
    CodeMatrix& matrix,
    const FloatMatrix& weights,
    const SquareMatrix& moments,
    ThreadPool& pool);

}  // namespace roofline
