#include "roofline/kernels/gemm/gemm_bf16_tiles.h"

namespace roofline {

const GemmBf16Kernels& gemm_bf16_amx() {
  static const GemmBf16Kernels kernels = gemm_bf16_on_tiles<AmxTiles>();
  return kernels;
}

}  // namespace roofline
