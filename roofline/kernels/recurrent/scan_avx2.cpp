#include "roofline/kernels/simd/vec_avx2.h"

#include "roofline/kernels/recurrent/scan_impl.h"

namespace roofline {

const ScanKernels& scan_avx2() {
  static constexpr ScanKernels kKernels{"avx2", mamba2_head, gated_delta_head};
  return kKernels;
}

}  // namespace roofline
