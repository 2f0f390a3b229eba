// For tests where there is no AMX.
#include "roofline/kernels/gemm/gemm_bf16_tiles.h"

namespace roofline {

const GemmBf16Kernels& gemm_bf16_emulated_amx() {
  static const GemmBf16Kernels kernels = gemm_bf16_on_tiles<EmulatedTiles>();
  return kernels;
}

}  // namespace roofline
