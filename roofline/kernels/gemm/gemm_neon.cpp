#include "roofline/kernels/gemm/gemm_impl.h"
#include "roofline/kernels/simd/vec_neon.h"

namespace roofline {

const GemmKernels& gemm_neon() {
  static constexpr GemmKernels kernels = gemm_kernels_of<Vec>("neon");
  return kernels;
}

}  // namespace roofline
