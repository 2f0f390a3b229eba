// The products of attention in bfloat16 on tiles. Included by files compiled
// for AMX only.
#pragma once

#include "roofline/kernels/attention/bf16_rows_impl.h"
#include "roofline/kernels/simd/tile_step.h"

namespace roofline {
namespace {

/// Whole tiles of rows; the rest, which few tasks have, by AVX-512.
template <class Tiles>
struct TileProducts {
  static constexpr int kTile = kTiledKeys;
  static constexpr int kKeys = kTileDepth;
  Tiles tiles;

  void run(
      const std::uint32_t* a,
      std::ptrdiff_t lda,
      const std::uint32_t* b,
      std::ptrdiff_t ldb,
      int pairs,
      float* c,
      std::ptrdiff_t ldc,
      int rows,
      int columns,
      bool accumulate) {
    const int whole = rows / kTileRows * kTileRows;
    run_steps<false>(
        tiles,
        strided_step(
            a,
            lda,
            b,
            ldb,
            pairs / kTileRows,
            c,
            ldc,
            whole,
            columns,
            accumulate));
    product(
        a + whole * lda,
        lda,
        b,
        ldb,
        pairs,
        c + whole * ldc,
        ldc,
        rows - whole,
        columns,
        accumulate);
  }
};

}  // namespace
}  // namespace roofline
