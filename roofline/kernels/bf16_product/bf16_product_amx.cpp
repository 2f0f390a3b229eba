#include "roofline/kernels/bf16_product/tile_hidden.h"

namespace roofline {

const Bf16ProductKernels& bf16_product_amx() {
  static constexpr auto kernels = bf16_product_of<AmxTiles>();
  return kernels;
}

}  // namespace roofline
