#include "roofline/kernels/attention/code_lanes_neon.h"
#include "roofline/kernels/attention/few_rows_impl.h"
#include "roofline/kernels/attention/many_rows_impl.h"
#include "roofline/kernels/simd/vec_neon.h"

namespace roofline {

const AttentionKernels& attention_kernels_neon() {
  static constexpr AttentionKernels kernels{
      "neon",
      8,
      few_rows<Vec, CodeLanes>,
      many_rows<Vec>};
  return kernels;
}

}  // namespace roofline
