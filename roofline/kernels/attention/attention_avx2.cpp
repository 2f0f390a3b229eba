#include "roofline/kernels/attention/code_lanes_avx2.h"
#include "roofline/kernels/attention/few_rows_impl.h"
#include "roofline/kernels/attention/many_rows_impl.h"
#include "roofline/kernels/attention/whole_rows_avx2.h"
#include "roofline/kernels/simd/vec_avx2.h"

namespace roofline {

const AttentionKernels& attention_kernels_avx2() {
  static constexpr AttentionKernels kernels{
      "avx2",
      8,
      few_rows<Vec, CodeLanes>,
      many_rows<Vec>,
      whole_rows};
  return kernels;
}

}  // namespace roofline
