#include "roofline/kernels/round/round_impl.h"
#include "roofline/kernels/round/variants.h"

namespace roofline {

const RoundKernels& round_neon() {
  static constexpr RoundKernels kernels = round_kernels_named("neon");
  return kernels;
}

}  // namespace roofline
