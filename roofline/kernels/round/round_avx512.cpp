#include "roofline/kernels/round/round_impl.h"
#include "roofline/kernels/round/variants.h"

namespace roofline {

const RoundKernels& round_avx512() {
  static constexpr RoundKernels kernels = round_kernels_named("avx512");
  return kernels;
}

}  // namespace roofline
