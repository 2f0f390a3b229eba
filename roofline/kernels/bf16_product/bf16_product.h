// Products with many tokens on matrix tiles: y = x · wᵀ with both sides rounded
// to bfloat16 and float32 sums, w in any format of PackedMatrix.
//
// A block of w's rows is decoded once, into the order in which the tiles read
// it, and stays in the cache while all tokens pass over it: scale · code + bias
// is rounded to 8 bits of mantissa, so that no group has an end of its own.
// Against codes of bytes with a scale for each group (qmm.h), which tiles
// multiply twice as fast, this saves an epilogue of two fused multiply-adds a
// sum and group: 2 · 16 · 16 / 16 lanes = 32 instructions for each 8 cycles of
// tiles. KL on SmolLM2: docs/accuracy.md.
//
// Reads w once for each call; 2·tokens·rows·cols operations.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/base/cpu_features.h"
#include "roofline/kernels/packed_matrix.h"

namespace roofline {

/// x in bfloat16 as tiles read it: [tokens / 16, cols / 32, 16, 32], both
/// rounded up. The caller owns the memory: size(), 64-byte aligned. Tokens
/// beyond the last may hold anything, columns beyond the last are zero.
struct RoundedRows {
  static constexpr int kTokens = 16;  ///< of a tile
  static constexpr int kCols = 32;

  int cols = 0;
  std::uint16_t* tiles = nullptr;  ///< nullptr: there are none

  static std::size_t size(int tokens, int cols) {
    const auto up = [](int n, int to) { return (n + to - 1) / to * to; };
    return static_cast<std::size_t>(up(tokens, kTokens)) *
           static_cast<std::size_t>(up(cols, kCols));
  }
  /// The rows from a token on, which is a multiple of 16.
  RoundedRows from(int token) const {
    return {cols, tiles + size(token, cols)};
  }
};

/// One instruction set's functions. Ranges are half-open.
struct Bf16ProductKernels {
  /// x[count] becomes columns [col, col + count) of a token; col is a multiple
  /// of 32, and so is count, unless they are the last ones.
  void (*round)(
      const float* x,
      int count,
      int token,
      int col,
      const RoundedRows& out);
  /// y [tokens, ldy] float32; writes columns of row blocks [block_begin,
  /// block_end), at most w.rows of them, for tokens [token_begin, token_end);
  /// token_begin is a multiple of 16.
  void (*product)(
      const PackedMatrix& w,
      int block_begin,
      int block_end,
      const RoundedRows& x,
      int token_begin,
      int token_end,
      float* y,
      int ldy);
  /// The gradient, x = y · w: y in tiles of w.rows columns; x [tokens, ldx];
  /// writes columns of groups of 32 [group_begin, group_end).
  void (*back)(
      const PackedMatrix& w,
      int group_begin,
      int group_end,
      const RoundedRows& y,
      int token_begin,
      int token_end,
      float* x,
      int ldx);
};

/// For active_isa(); nullptr where it has no tiles.
const Bf16ProductKernels* bf16_product_kernels();

/// For bf16_product_kernels() only.
const Bf16ProductKernels& bf16_product_amx();
const Bf16ProductKernels& bf16_product_emulated_amx();

}  // namespace roofline
