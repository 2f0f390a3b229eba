#include "roofline/kernels/round/round_impl.h"
#include "roofline/kernels/round/variants.h"

namespace roofline {

const RoundKernels& round_avx2() {
  static constexpr RoundKernels kernels = round_kernels_named("avx2");
  return kernels;
}

}  // namespace roofline
