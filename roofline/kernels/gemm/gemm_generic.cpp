#include "roofline/kernels/gemm/gemm_impl.h"
#include "roofline/kernels/simd/vec_generic.h"

namespace roofline {

const GemmKernels& gemm_generic() {
  static constexpr GemmKernels kernels = gemm_kernels_of<Vec>("generic");
  return kernels;
}

}  // namespace roofline
