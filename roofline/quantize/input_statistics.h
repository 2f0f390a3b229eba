// What calibration keeps of a matrix's inputs: their second moments and mean
// magnitudes, summed as tokens come, so that no input need be kept.
#pragma once

#include <cstdint>
#include <vector>

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/codes.h"
#include "roofline/quantize/linear_algebra.h"

namespace roofline {

class InputStatistics {
 public:
  explicit InputStatistics(int cols);

  /// x: [tokens, cols] float32.
  void add(const float* x, int tokens, ThreadPool& pool);
  /// Beside add(): what the model as it was has in x's place.
  void add_lag(
      const float* wanted,
      const float* x,
      int tokens,
      ThreadPool& pool);

  int cols() const { return gram_.size; }
  std::int64_t tokens() const { return tokens_; }
  /// Mean of x·xᵀ: [cols, cols].
  SquareMatrix moments() const;
  /// Mean of |x|: [cols].
  std::vector<float> magnitudes() const;
  /// Mean of (wanted − x)·xᵀ; empty where add_lag() was never called.
  SquareMatrix lag() const;

 private:
  SquareMatrix gram_;
  SquareMatrix lag_;
  std::vector<double> magnitudes_;
  std::int64_t tokens_ = 0;
};

/// Adds `share` of the diagonal's mean to the diagonal; columns that never had
/// an input get 1 there.
SquareMatrix damped(SquareMatrix moments, float share);

/// The moments of few inputs, filled up with those of more: as if so many of
/// the latter had been seen beside them as there are columns.
SquareMatrix filled_up(const InputStatistics& few, const InputStatistics& all);

/// Adds to the weights what makes their product with the inputs that are there
/// most like the former product with those that were wanted (least squares):
/// w + share·w·L·M⁻¹ with the lag L. moments: damped.
void make_up_for_lag(
    FloatMatrix& weights,
    const SquareMatrix& lag,
    const SquareMatrix& moments,
    float share,
    ThreadPool& pool);

/// What rounding costs at the matrix's output: the mean over tokens of
/// |(ŵ − w)·x|², summed over rows: tr(Δ·M·Δᵀ).
double output_error(
    const FloatMatrix& weights,
    const FloatMatrix& rounded,
    const SquareMatrix& moments,
    ThreadPool& pool);

}  // namespace roofline
