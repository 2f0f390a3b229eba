// GPTQ (Frantar et al. 2022, arXiv 2210.17323): rounds a matrix column by
// column and spreads each column's error over the columns that are still to
// come, so that the outputs for the calibration inputs change least.
#pragma once

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/codes.h"
#include "roofline/quantize/linear_algebra.h"

namespace roofline {

/// moments: mean of x·xᵀ of the inputs, damped (input_statistics.h). With a
/// diagonal one it rounds each value to the nearest. Groups' ranges are
/// searched with each column's share in the error as its importance.
/// Takes rows·cols² operations and rows·cols floats beside its inputs. When
/// the moments aren't positive definite even so, they are damped more.
CodeMatrix gptq(
    const FloatMatrix& weights,
    const SquareMatrix& moments,
    const MatrixFormat& format,
    Encoding scale_type,
    ThreadPool& pool);

/// In two parts, for several formats of the same inputs: U with Uᵀ·U the
/// inverse of the moments, then what is rounded by it.
SquareMatrix gptq_root(SquareMatrix moments, ThreadPool& pool);
CodeMatrix gptq_by_root(
    const FloatMatrix& weights,
    const SquareMatrix& root,
    const MatrixFormat& format,
    Encoding scale_type,
    ThreadPool& pool);

}  // namespace roofline
