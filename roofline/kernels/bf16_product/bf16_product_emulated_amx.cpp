// For tests where there is no AMX.
#include "roofline/kernels/bf16_product/tile_hidden.h"

namespace roofline {

const Bf16ProductKernels& bf16_product_emulated_amx() {
  static constexpr auto kernels = bf16_product_of<EmulatedTiles>();
  return kernels;
}

}  // namespace roofline
