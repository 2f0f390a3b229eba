#include "roofline/kernels/row_grads/row_grads.h"

#include "roofline/kernels/isa_table.h"
#include "roofline/kernels/row_grads/row_grads_impl.h"
#include "roofline/kernels/row_grads/variants.h"
#include "roofline/kernels/simd/vec_generic.h"

namespace roofline {

const RowGradKernels& row_grads_generic() {
  static constexpr RowGradKernels kernels = row_grads_of<Vec>("generic");
  return kernels;
}

namespace {

constexpr IsaTable<RowGradKernels> kVariants{
    row_grads_generic,
    ROOFLINE_ON_X86(row_grads_avx2),
    ROOFLINE_ON_X86(row_grads_avx512),
    ROOFLINE_ON_ARM(row_grads_neon)};

}  // namespace

const RowGradKernels* row_grad_kernels(Isa isa) {
  return kVariants.find(isa);
}

const RowGradKernels& row_grad_kernels() {
  return kVariants.active();
}

}  // namespace roofline
