#include "roofline/kernels/round/round.h"

#include "roofline/kernels/isa_table.h"
#include "roofline/kernels/round/round_impl.h"
#include "roofline/kernels/round/variants.h"

namespace roofline {

const RoundKernels& round_generic() {
  static constexpr RoundKernels kernels = round_kernels_named("generic");
  return kernels;
}

namespace {

constexpr IsaTable<RoundKernels> kVariants{
    round_generic,
    ROOFLINE_ON_X86(round_avx2),
    ROOFLINE_ON_X86(round_avx512),
    ROOFLINE_ON_ARM(round_neon)};

}  // namespace

const RoundKernels* round_kernels(Isa isa) {
  return kVariants.find(isa);
}

const RoundKernels& round_kernels() {
  return kVariants.active();
}

}  // namespace roofline
