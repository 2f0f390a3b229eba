#include "roofline/kernels/bf16_product/bf16_product_impl.h"

namespace roofline {

const Bf16ProductKernels& bf16_product_amx() {
  static constexpr auto kernels = bf16_product_of<AmxTiles>();
  return kernels;
}

}  // namespace roofline
