#include "roofline/kernels/bf16_product/multiply.h"

#include "roofline/kernels/product_grid.h"
#include "roofline/kernels/rounded_x.h"

namespace roofline {

void multiply_on_tiles(
    const PackedMatrix& w,
    TileProduct which,
    const float* x,
    std::ptrdiff_t x_stride,
    int tokens,
    float* y,
    int y_stride,
    ThreadPool& pool) {
  const Bf16ProductKernels& kernels = *bf16_product_kernels();
  const bool straight = which == TileProduct::straight;
  const RoundedX rounded(
      tokens,
      tokens,
      straight ? w.cols : w.rows,
      pool,
      [=](int t) { return x + t * x_stride; },
      [](int t) { return t; });
  // The back product takes groups of 32 columns, two blocks of 16 each.
  const int each = straight ? 1 : kGroup / kRowBlock;
  const int units = straight ? w.row_blocks() : (w.cols + kGroup - 1) / kGroup;
  const int blocks = units * each;
  const auto grid = ProductGrid::for_tiles(
      blocks,
      blocks,
      tokens,
      pool.threads(),
      kMostTiledBlocks);
  const auto product = straight ? kernels.product : kernels.back;
  auto piece = [&](int index, int) {
    const ProductPiece p = grid.piece(index);
    product(
        w,
        {p.block_begin / each, p.block_end / each, p.token_begin, p.token_end},
        rounded.rows,
        y,
        y_stride);
  };
  pool.run(grid.pieces(), piece);
}

}  // namespace roofline
