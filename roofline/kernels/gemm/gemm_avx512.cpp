#include "roofline/kernels/gemm/gemm_impl.h"
#include "roofline/kernels/simd/vec_avx512.h"

namespace roofline {

const GemmKernels& gemm_avx512() {
  static constexpr GemmKernels kernels = gemm_kernels_of<Vec>("avx512");
  return kernels;
}

}  // namespace roofline
