#include "roofline/kernels/simd/vec_neon.h"

#include "roofline/kernels/recurrent/scan_impl.h"

namespace roofline {

const ScanKernels& scan_neon() {
  static constexpr ScanKernels kKernels{"neon", mamba2_head, gated_delta_head};
  return kKernels;
}

}  // namespace roofline
