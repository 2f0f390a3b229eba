// Rounding a group of values to the codes of an affine grid, the inner loop of
// every quantizer:
//   code = clamp(round((w − bias) · inverse), 0, most), inverse = 1 / scale
// Ties go to the even code; what isn't a number becomes 0.
#pragma once

#include <cstdint>

#include "roofline/base/cpu_features.h"

namespace roofline {

/// One instruction set's functions; n may be anything.
struct RoundKernels {
  const char* name;
  /// Least and largest value; values that are no numbers are passed over.
  void (*range)(const float* values, int n, float& low, float& high);
  void (*codes)(
      const float* values,
      int n,
      float bias,
      float inverse,
      float most,
      std::uint8_t* out);
  /// Σ importance · (w − (scale·code + bias))² with the codes that codes()
  /// would give; importance may be null (ones).
  float (*error)(
      const float* values,
      const float* importance,
      int n,
      float scale,
      float bias,
      float inverse,
      float most);
};

const RoundKernels& round_kernels();
/// A given variant; nullptr when this build has none.
const RoundKernels* round_kernels(Isa isa);

}  // namespace roofline
