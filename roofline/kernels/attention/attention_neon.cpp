#include "roofline/kernels/attention/code_lanes.h"
#include "roofline/kernels/attention/few_rows_impl.h"
#include "roofline/kernels/attention/many_rows_impl.h"
#include "roofline/kernels/simd/vec_neon.h"

namespace roofline {

const AttentionKernels& attention_kernels_neon() {
  static constexpr AttentionKernels kernels{
      "neon",
      8,
      few_rows<Vec, PortableLanes<Vec>>,
      many_rows<Vec>};
  return kernels;
}

}  // namespace roofline
