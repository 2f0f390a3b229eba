#include "roofline/kernels/simd/vec_avx512.h"

#include "roofline/kernels/recurrent/scan_impl.h"

namespace roofline {

const ScanKernels& scan_avx512() {
  static constexpr ScanKernels kKernels{
      "avx512",
      mamba2_head,
      gated_delta_head};
  return kKernels;
}

}  // namespace roofline
