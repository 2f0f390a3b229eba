#include "roofline/kernels/dense/dense.h"

#include "roofline/kernels/dense/dense_variants.h"
#include "roofline/kernels/isa_table.h"

namespace roofline {

namespace {

constexpr IsaTable<DenseKernels> kVariants{
    dense_generic,
    ROOFLINE_ON_X86(dense_avx2),
    ROOFLINE_ON_X86(dense_avx512),
    ROOFLINE_ON_ARM(dense_neon)};

}  // namespace

const DenseKernels* dense_kernels(Isa isa) {
  return kVariants.find(isa);
}

const DenseKernels& dense_kernels() {
  return kVariants.active();
}

}  // namespace roofline
