#include "roofline/kernels/gemm/gemm_impl.h"
#include "roofline/kernels/simd/vec_avx2.h"

namespace roofline {

const GemmKernels& gemm_avx2() {
  static constexpr GemmKernels kernels = gemm_kernels_of<Vec>("avx2");
  return kernels;
}

}  // namespace roofline
