// How much a model's predictions suffer from rounding each matrix, measured:
// one matrix at a time is rounded in an otherwise untouched model, and the
// Kullback-Leibler divergence of the logits is taken. From it and from what
// other formats do to the matrix's output follows each format's loss, and a
// knapsack picks formats for a budget of bits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "roofline/quantize/plan_formats.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

struct SensitivityOptions {
  /// Windows of text that all matrices are measured on.
  std::vector<std::vector<std::int32_t>> windows;
  /// The format in which matrices are rounded to be measured.
  MatrixFormat probe{QuantMode::affine, 4, 64};
  /// Formats to choose among.
  std::vector<MatrixFormat> candidates;
  Encoding scale_type = Encoding::f16;
  /// Matrices are rounded by GPTQ to be measured, as they will be: what it
  /// leaves of an error differs from matrix to matrix.
  bool gptq = false;
  /// Windows whose inputs GPTQ sees then; of fewer tokens than a matrix has
  /// columns it would make too little of the error.
  std::vector<std::vector<std::int32_t>> calibration;
  std::function<void(double share, const std::string& what)> progress;
  std::function<bool()> stop;
};

struct MatrixSensitivity {
  double kl = 0;  ///< nats a token with this matrix alone in the probe's format
  /// Expected loss in each candidate's format: kl times the ratio of errors at
  /// the matrix's output (format_losses.h), which small divergences grow with;
  /// in layers times what all of them rounded together lose over the sum of
  /// each alone, where that is more.
  std::vector<double> losses;
};

using SensitivityByName = std::map<std::string, MatrixSensitivity, std::less<>>;

/// Of all matrices that the plan has in codes. The text goes through the model
/// one layer after the other, once for the model as it is and once for each
/// matrix rounded so far: in memory are one layer and a residual stream a
/// matrix. Throws UserError without windows, QuantizeCancelled (quantize.h).
SensitivityByName measure_sensitivity(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const SensitivityOptions& options);

/// Gives each matrix of the plan that has a sensitivity one of the candidates,
/// so that the model has at most target_bits_per_weight (floats counted, at 16
/// bits) and the sum of losses is least. together: lists of matrices that must
/// share a format; others choose alone. Throws UserError when the budget is too
/// small.
void choose_formats(
    const Checkpoint& checkpoint,
    const SensitivityByName& sensitivities,
    std::span<const MatrixFormat> candidates,
    double target_bits_per_weight,
    std::span<const std::vector<std::string>> together,
    FormatPlan& plan);

}  // namespace roofline
