#include "roofline/kernels/row_grads/row_grads_impl.h"
#include "roofline/kernels/row_grads/variants.h"
#include "roofline/kernels/simd/vec_avx2.h"

namespace roofline {

const RowGradKernels& row_grads_avx2() {
  static constexpr RowGradKernels kernels = row_grads_of<Vec>("avx2");
  return kernels;
}

}  // namespace roofline
