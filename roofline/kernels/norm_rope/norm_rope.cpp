#include "roofline/kernels/norm_rope/norm_rope.h"

#include <cmath>
#include <cstddef>

#include "roofline/kernels/norm_rope/row_kernels_impl.h"
#include "roofline/kernels/norm_rope/variants.h"
#include "roofline/kernels/simd/vec_generic.h"

namespace roofline {

const RowKernels& row_kernels_generic() {
  static constexpr RowKernels kernels = row_kernels_of<Vec>("generic");
  return kernels;
}

const RowKernels* row_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) {
    return &row_kernels_avx512();
  }
  if (isa == Isa::avx2) {
    return &row_kernels_avx2();
  }
#endif
  return isa == Isa::generic ? &row_kernels_generic() : nullptr;
}

const RowKernels& row_kernels() {
  const RowKernels* kernels = row_kernels(active_isa());
  return kernels ? *kernels : row_kernels_generic();
}

void fill_rope_row(
    const RopeRegime& regime,
    RopeLayout layout,
    std::int64_t position,
    float* cos,
    float* sin) {
  const std::size_t pairs = regime.frequencies.size();
  for (std::size_t i = 0; i < pairs; ++i) {
    // The reference computes the angle in float32; so do we.
    const float angle = static_cast<float>(position) * regime.frequencies[i];
    const float c = std::cos(angle) * regime.magnitude;
    const float s = std::sin(angle) * regime.magnitude;
    if (layout == RopeLayout::half_split) {
      cos[i] = c;
      sin[i] = s;
    } else {
      cos[2 * i] = cos[2 * i + 1] = c;
      sin[2 * i] = -s;
      sin[2 * i + 1] = s;
    }
  }
}

}  // namespace roofline
