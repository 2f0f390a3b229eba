#include "roofline/kernels/simd/vec_generic.h"

#include "roofline/kernels/recurrent/scan_impl.h"

namespace roofline {

const ScanKernels& scan_generic() {
  static constexpr ScanKernels kKernels{
      "generic",
      mamba2_head,
      gated_delta_head};
  return kKernels;
}

}  // namespace roofline
