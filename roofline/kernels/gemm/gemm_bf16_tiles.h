// gemm's product in bfloat16 on tiles. Included by files compiled for AMX only.
#pragma once

#include "roofline/kernels/gemm/gemm_bf16.h"
#include "roofline/kernels/simd/tile_step.h"

namespace roofline {
namespace {

/// Whole tiles of rows and depth; what is left of them by AVX-512.
template <class Tiles>
void gemm_tile_on_tiles(const PairProduct& product) {
  const auto rest = gemm_bf16_avx512().tile;
  const int tall = product.rows / kTileRows * kTileRows;
  const int deep = product.pairs / kTileRows * kTileRows;
  const PairProduct whole_rows = product.first_rows(tall);
  if (tall > 0 && deep > 0) {
    Tiles tiles;
    run_steps<false>(tiles, strided_step(whole_rows.of_pairs(0, deep)));
  }
  if (tall > 0 && deep < product.pairs) {
    rest(whole_rows.of_pairs(deep, product.pairs - deep));
  }
  if (tall < product.rows) {
    rest(product.after_rows(tall));
  }
}

template <class Tiles>
GemmBf16Kernels gemm_bf16_on_tiles() {
  const GemmBf16Kernels& avx512 = gemm_bf16_avx512();
  return {avx512.round_row, avx512.round_panel, gemm_tile_on_tiles<Tiles>};
}

}  // namespace
}  // namespace roofline
