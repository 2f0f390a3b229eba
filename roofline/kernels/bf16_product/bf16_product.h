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
// Of few tokens decoding decides: 4-bit codes go to the tiles unscaled then,
// and their sums have that end (tile_codes.h).
//
// Sums wait tile by tile in memory of the thread's own until the depth is
// through: rows of y are often a multiple of the page apart, and 16 of them at
// a time would meet in few lines of a cache. Where sums are about to go is
// asked tiles multiply: codes from memory, waiting sums, lines of y.
//
// Reads w once for each call; 2·tokens·rows·cols operations.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/base/cpu_features.h"
#include "roofline/kernels/packed_matrix.h"
#include "roofline/kernels/product_grid.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Most tiles along the depth, tokens and pairs of row blocks that a thread
/// works on at a time. Two decoded blocks are 40 KiB then, which a first cache
/// of 48 KiB holds while all tokens pass; their sums are 512 KiB and the
/// tokens' part of x 640, both of a second cache of 2 MiB: every processor with
/// AMX has these.
constexpr int kMostPassTiles = 20;
constexpr int kTiledTokens = 512;
constexpr int kTiledPairs = 8;

/// x in bfloat16 as tiles read it: the depth in passes of pass_tiles() columns
/// of 32, the last one shorter; a pass is [tokens / 16, tiles of the pass, 16,
/// 32]. So what a pass reads lies together: token by token it would be a power
/// of two apart in deep products and meet in few lines of a cache. The caller
/// owns the memory: size(), 64-byte aligned. Tokens beyond the last may hold
/// anything, columns beyond the last are zero.
struct RoundedRows {
  static constexpr int kTokens = 16;  ///< of a tile
  static constexpr int kCols = 32;

  int cols = 0;
  int token_tiles = 0;
  std::uint16_t* tiles = nullptr;  ///< nullptr: there are none
  int first_tile = 0;              ///< the first token's

  static RoundedRows over(int tokens, int cols, std::uint16_t* memory) {
    return {cols, (tokens + kTokens - 1) / kTokens, memory};
  }
  static std::size_t size(int tokens, int cols) {
    const auto up = [](int n, int to) { return (n + to - 1) / to * to; };
    return static_cast<std::size_t>(up(tokens, kTokens)) *
           static_cast<std::size_t>(up(cols, kCols));
  }
  int depth_tiles() const { return (cols + kCols - 1) / kCols; }
  int pass_tiles() const {
    const int depth = depth_tiles();
    const int passes = (depth + kMostPassTiles - 1) / kMostPassTiles;
    return passes > 0 ? (depth + passes - 1) / passes : 1;
  }
  /// Tiles of the pass that begins at a depth.
  int tiles_from(int depth_tile) const {
    const int left = depth_tiles() - depth_tile;
    return left < pass_tiles() ? left : pass_tiles();
  }
  /// The tile of tokens [16·token_tile, …) and columns [32·depth_tile, …).
  std::uint16_t* tile(int token_tile, int depth_tile) const {
    const int in_pass = depth_tile % pass_tiles();
    const int begin = depth_tile - in_pass;
    const std::ptrdiff_t token = first_tile + token_tile;
    return tiles + std::ptrdiff_t{kTokens} * kCols *
                       (std::ptrdiff_t{begin} * token_tiles +
                        token * tiles_from(begin) + in_pass);
  }
  /// The rows from a token on, which is a multiple of 16.
  RoundedRows from(int token) const {
    return {cols, token_tiles, tiles, first_tile + token / kTokens};
  }
};

/// Sums of a product while they wait for more depth: [columns / 32, tokens /
/// 32, 2, 2, 16, 16], tokens before columns in a pair of tiles, both rounded
/// up. 64-byte aligned.
struct TiledSums {
  static constexpr int kTokens = 32;
  static constexpr int kCols = 32;

  float* data = nullptr;

  static std::size_t size(int tokens, int cols) {
    const auto up = [](int n, int to) { return (n + to - 1) / to * to; };
    return static_cast<std::size_t>(up(tokens, kTokens)) *
           static_cast<std::size_t>(up(cols, kCols));
  }
};

/// Most row blocks of a piece: decoding one costs as much as multiplying it
/// with 80 tokens, and the piece's sums, of kTiledTokens at most, stay near.
constexpr int kMostTiledBlocks = kTiledPairs * TiledSums::kCols / kRowBlock;

/// What a thread keeps for a product, in bytes.
constexpr std::size_t kTiledProductBytes =
    std::size_t{2} * kMostPassTiles * 1024 +
    sizeof(float) * kTiledTokens * kTiledPairs * TiledSums::kCols;

/// The products of a feed-forward's hidden activations. Matrices have the same
/// rows and columns.
struct TiledHidden {
  const PackedMatrix* gate = nullptr;  ///< nullptr: there is none
  const PackedMatrix* up = nullptr;
  const float* gate_bias = nullptr;  ///< nullptr: none; else one a row
  const float* up_bias = nullptr;
  Activation activation = Activation::silu;
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
  /// y [tokens, ldy] float32; writes columns of the piece's row blocks, at most
  /// w.rows of them, for its tokens.
  void (*product)(
      const PackedMatrix& w,
      const ProductPiece& piece,
      const RoundedRows& x,
      float* y,
      int ldy);
  /// The gradient, x = y · w: y in tiles of w.rows columns; x [tokens, ldx];
  /// writes columns of the piece's groups.
  void (*back)(
      const PackedMatrix& w,
      const ProductPiece& piece,
      const RoundedRows& y,
      float* x,
      int ldx);
  /// act(x · gateᵀ + bias) ∘ (x · upᵀ + bias), or act(x · upᵀ + bias) without
  /// a gate, as columns of out: of the piece's tokens and row blocks, whose
  /// first one begins a group of 32 columns.
  void (*hidden)(
      const TiledHidden& hidden,
      const ProductPiece& piece,
      const RoundedRows& x,
      const RoundedRows& out);
};

/// For active_isa(); nullptr where it has no tiles.
const Bf16ProductKernels* bf16_product_kernels();

/// For bf16_product_kernels() only.
const Bf16ProductKernels& bf16_product_amx();
const Bf16ProductKernels& bf16_product_emulated_amx();

}  // namespace roofline
