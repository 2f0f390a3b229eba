#include "roofline/kernels/norm_rope/norm_rope.h"

#include <cmath>
#include <cstddef>

#include "roofline/kernels/isa_table.h"
#include "roofline/kernels/norm_rope/row_kernels_impl.h"
#include "roofline/kernels/norm_rope/variants.h"
#include "roofline/kernels/simd/vec_generic.h"

namespace roofline {

const RowKernels& row_kernels_generic() {
  static constexpr RowKernels kernels = row_kernels_of<Vec>("generic");
  return kernels;
}

namespace {

constexpr IsaTable<RowKernels> kVariants{
    row_kernels_generic,
    ROOFLINE_ON_X86(row_kernels_avx2),
    ROOFLINE_ON_X86(row_kernels_avx512),
    ROOFLINE_ON_ARM(row_kernels_neon)};

}  // namespace

const RowKernels* row_kernels(Isa isa) {
  return kVariants.find(isa);
}

const RowKernels& row_kernels() {
  return kVariants.active();
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
