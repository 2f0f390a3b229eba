#include "roofline/kernels/norm_rope/row_kernels_impl.h"
#include "roofline/kernels/norm_rope/variants.h"
#include "roofline/kernels/simd/vec_neon.h"

namespace roofline {

const RowKernels& row_kernels_neon() {
  static constexpr RowKernels kernels = row_kernels_of<Vec>("neon");
  return kernels;
}

}  // namespace roofline
