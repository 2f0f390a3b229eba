#include "roofline/kernels/attention/code_lanes.h"
#include "roofline/kernels/attention/few_rows_impl.h"
#include "roofline/kernels/attention/many_rows_impl.h"
#include "roofline/kernels/simd/vec_generic.h"

namespace roofline {

const AttentionKernels& attention_kernels_generic() {
  static constexpr AttentionKernels kernels{
      "generic",
      8,
      few_rows<Vec, PortableLanes<Vec>>,
      many_rows<Vec>};
  return kernels;
}

}  // namespace roofline
