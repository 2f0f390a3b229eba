// gemm's product in bfloat16 on tiles. Included by files compiled for AMX only.
#pragma once

#include "roofline/kernels/gemm/gemm_bf16.h"
#include "roofline/kernels/simd/tile_step.h"

namespace roofline {
namespace {

/// Whole tiles of rows and depth; what is left of them by AVX-512.
template <class Tiles>
void gemm_tile_on_tiles(
    const std::uint32_t* a,
    std::ptrdiff_t leading,
    int rows,
    const std::uint32_t* b,
    int panel,
    int pairs,
    int columns,
    float* c,
    std::ptrdiff_t ldc,
    bool accumulate) {
  const auto rest = gemm_bf16_avx512().tile;
  const int tall = rows / kTileRows * kTileRows;
  const int deep = pairs / kTileRows * kTileRows;
  if (tall > 0 && deep > 0) {
    Tiles tiles;
    run_steps<false>(
        tiles,
        strided_step(
            a,
            leading,
            b,
            panel,
            deep / kTileRows,
            c,
            ldc,
            tall,
            columns,
            accumulate));
  }
  if (tall > 0 && deep < pairs) {
    rest(
        a + deep,
        leading,
        tall,
        b + static_cast<std::ptrdiff_t>(deep) * panel,
        panel,
        pairs - deep,
        columns,
        c,
        ldc,
        accumulate || deep > 0);
  }
  if (tall < rows) {
    rest(
        a + tall * leading,
        leading,
        rows - tall,
        b,
        panel,
        pairs,
        columns,
        c + tall * ldc,
        ldc,
        accumulate);
  }
}

template <class Tiles>
GemmBf16Kernels gemm_bf16_on_tiles() {
  const GemmBf16Kernels& avx512 = gemm_bf16_avx512();
  return {avx512.round_row, avx512.round_panel, gemm_tile_on_tiles<Tiles>};
}

}  // namespace
}  // namespace roofline
