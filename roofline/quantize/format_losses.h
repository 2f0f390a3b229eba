// What a matrix loses at its output in each of several formats, on some of its
// rows: how the losses of formats stand to each other, for sensitivity.h.
#pragma once

#include <span>
#include <vector>

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/codes.h"
#include "roofline/quantize/linear_algebra.h"

namespace roofline {

/// How a matrix will be rounded, and in which formats.
struct LossQuestion {
  std::span<const MatrixFormat> candidates;
  /// In which the divergence is measured.
  MatrixFormat probe;
  Encoding scale_type = Encoding::f16;
  /// By GPTQ, else plainly. Refining gains about alike in all formats.
  bool gptq = false;
};

/// The error in every candidate's format over that in the probe's; 0 for
/// formats that don't fit. moments: of the inputs, damped; nullptr: every input
/// alike, and plain rounding.
std::vector<double> format_losses(
    const FloatMatrix& weights,
    const SquareMatrix* moments,
    const LossQuestion& question,
    ThreadPool& pool);

}  // namespace roofline
