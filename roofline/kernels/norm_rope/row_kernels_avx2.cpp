#include "roofline/kernels/norm_rope/row_kernels_impl.h"
#include "roofline/kernels/norm_rope/variants.h"
#include "roofline/kernels/simd/vec_avx2.h"

namespace roofline {

const RowKernels& row_kernels_avx2() {
  static constexpr RowKernels kernels = row_kernels_of<Vec>("avx2");
  return kernels;
}

}  // namespace roofline
