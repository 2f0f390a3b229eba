// The product's halves-wide twin: both sides rounded to bfloat16, pairs of
// products added in float32, on processors that have an instruction for it.
#pragma once

#include <cstdint>

#include "roofline/kernels/simd/pair_product.h"

namespace roofline {

/// Pairs of bfloat16, the value of the lower index in the lower bits.
struct GemmBf16Kernels {
  /// out[k][i], pairs (2k, 2k + 1) of a row of n floats; an odd last one is
  /// paired with zero.
  void (*round_row)(const float* x, int n, std::uint32_t* out);
  /// A panel of `depth` rows of `panel` floats as pairs of rows.
  void (*round_panel)(
      const float* rows,
      int depth,
      int panel,
      std::uint32_t* out);
  /// At most a panel's columns.
  void (*tile)(const PairProduct& product);
};

/// nullptr where this machine or build has none.
const GemmBf16Kernels* gemm_bf16_kernels();

const GemmBf16Kernels& gemm_bf16_avx512();
const GemmBf16Kernels& gemm_bf16_amx();
const GemmBf16Kernels& gemm_bf16_emulated_amx();
const GemmBf16Kernels& gemm_bf16_i8mm();

}  // namespace roofline
