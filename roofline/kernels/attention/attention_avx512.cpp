#include "roofline/kernels/attention/code_lanes_avx512.h"
#include "roofline/kernels/attention/few_rows_impl.h"
#include "roofline/kernels/attention/many_rows_impl.h"
#include "roofline/kernels/simd/vec_avx512.h"

namespace roofline {

const AttentionKernels& attention_kernels_avx512() {
  static constexpr AttentionKernels kernels{
      "avx512",
      12,
      few_rows<Vec, CodeLanes>,
      many_rows<Vec>};
  return kernels;
}

}  // namespace roofline
