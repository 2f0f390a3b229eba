// Whole products on tiles of bfloat16, on the pool: what linear.h's ops, gemm
// and training's loss do where the active instruction set has tiles.
#pragma once

#include <cstddef>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/bf16_product/bf16_product.h"

namespace roofline {

/// Fewer tokens don't pay for rounding them and for decoding w.
constexpr int kTiledLeastTokens = 48;

/// straight: y = x · wᵀ, x [tokens, w.cols] and y [tokens, w.rows]; back: y =
/// x · w, the other way round.
enum class TileProduct { straight, back };

/// Rows of x and y are so many floats apart. bf16_product_kernels() must be
/// there.
void multiply_on_tiles(
    const PackedMatrix& w,
    TileProduct which,
    const float* x,
    std::ptrdiff_t x_stride,
    int tokens,
    float* y,
    int y_stride,
    ThreadPool& pool);

}  // namespace roofline
