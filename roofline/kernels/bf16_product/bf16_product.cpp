#include "roofline/kernels/bf16_product/bf16_product.h"

namespace roofline {

const Bf16ProductKernels* bf16_product_kernels() {
#if defined(__x86_64__)
  if (active_isa() == Isa::amx) {
    return isa_runs(Isa::amx) ? &bf16_product_amx()
                              : &bf16_product_emulated_amx();
  }
#endif
  return nullptr;
}

}  // namespace roofline
