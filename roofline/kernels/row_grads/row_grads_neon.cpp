#include "roofline/kernels/row_grads/row_grads_impl.h"
#include "roofline/kernels/row_grads/variants.h"
#include "roofline/kernels/simd/vec_neon.h"

namespace roofline {

const RowGradKernels& row_grads_neon() {
  static constexpr RowGradKernels kernels = row_grads_of<Vec>("neon");
  return kernels;
}

}  // namespace roofline
