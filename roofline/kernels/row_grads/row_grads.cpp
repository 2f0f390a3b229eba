#include "roofline/kernels/row_grads/row_grads.h"

#include "roofline/kernels/row_grads/row_grads_impl.h"
#include "roofline/kernels/row_grads/variants.h"
#include "roofline/kernels/simd/vec_generic.h"

namespace roofline {

const RowGradKernels& row_grads_generic() {
  static constexpr RowGradKernels kernels = row_grads_of<Vec>("generic");
  return kernels;
}

const RowGradKernels* row_grad_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) {
    return &row_grads_avx512();
  }
  if (isa == Isa::avx2) {
    return &row_grads_avx2();
  }
#endif
  return isa == Isa::generic ? &row_grads_generic() : nullptr;
}

const RowGradKernels& row_grad_kernels() {
  const RowGradKernels* kernels = row_grad_kernels(active_isa());
  return kernels ? *kernels : row_grads_generic();
}

}  // namespace roofline
