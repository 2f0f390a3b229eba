#include "roofline/kernels/norm_rope/row_kernels_impl.h"
#include "roofline/kernels/norm_rope/variants.h"
#include "roofline/kernels/simd/vec_avx512.h"

namespace roofline {

const RowKernels& row_kernels_avx512() {
  static constexpr RowKernels kernels = row_kernels_of<Vec>("avx512");
  return kernels;
}

}  // namespace roofline
