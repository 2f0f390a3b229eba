// The product over a tile policy (simd/tiles.h): two row blocks times two tiles
// of tokens at a time, whose sums stay in tiles along a pass over some of the
// depth (tile_step.h).
// Included by files compiled for AMX only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/bf16_product/bf16_product.h"
#include "roofline/kernels/bf16_product/tile_decode.h"
#include "roofline/kernels/simd/tile_step.h"

namespace roofline {
namespace {

constexpr int kPairBlocks = 2;
constexpr int kPairFloats = TiledSums::kTokens * TiledSums::kCols;

static_assert(kTileSize == 1024, "kTiledProductBytes counts on it");

/// A thread's decoded blocks: [2, tiles of a pass, 256].
inline std::uint32_t* decoded_blocks() {
  thread_local AlignedBuffer<std::uint32_t> blocks;
  blocks.grow(std::size_t{kPairBlocks} * kMostPassTiles * kTileWords);
  return blocks.data();
}

/// A thread's sums that wait for more depth.
inline TiledSums waiting_sums(int tokens, int pairs) {
  thread_local AlignedBuffer<float> sums;
  sums.grow(TiledSums::size(tokens, pairs * TiledSums::kCols));
  return {sums.data()};
}

inline void round_tokens(
    const float* x,
    int count,
    int token,
    int col,
    const RoundedRows& out) {
  const int each = out.pass_tiles();
  std::uint16_t* to = nullptr;
  int in_pass = each;
  for (int c = 0; c < count; c += kTileDepth, ++in_pass) {
    if (in_pass == each || c == 0) {
      const int tile = (col + c) / kTileDepth;
      in_pass = tile % each;
      to = out.tile(token / kTileRows, tile) + token % kTileRows * kTileDepth;
    }
    const int left = count - c;
    const __m512 low =
        _mm512_maskz_loadu_ps(Vec::mask(std::min(left, 16)), x + c);
    const __m512 high = _mm512_maskz_loadu_ps(
        Vec::mask(std::clamp(left - 16, 0, 16)),
        x + c + 16);
    _mm512_storeu_si512(to, rounded_pairs(low, high));
    to += kTileRows * kTileDepth;
  }
}

inline void round_tiled_sums(
    const TiledSums& sums,
    int tokens,
    int cols,
    int col,
    const RoundedRows& out) {
  const int groups = (cols + kTileDepth - 1) / kTileDepth;
  const int blocks = (tokens + kTileRows - 1) / kTileRows;
  const std::ptrdiff_t token_tiles = (tokens + 31) / 32;
  for (int g = 0; g < groups; ++g) {
    for (int b = 0; b < blocks; ++b) {
      const float* from = sums.data + (g * token_tiles + b / 2) * kPairFloats +
                          b % 2 * (kPairFloats / 2);
      std::uint16_t* to = out.tile(b, col / kTileDepth + g);
      for (int r = 0; r < kTileRows; ++r, from += kTileCols, to += kTileDepth) {
        _mm512_storeu_si512(
            to,
            rounded_pairs(
                _mm512_load_ps(from),
                _mm512_load_ps(from + kPairFloats / 4)));
      }
    }
  }
}

/// Rows of y from tiles of sums, `cols` of them.
inline void write_sums(
    const TiledSums& sums,
    int tokens,
    int cols,
    float* y,
    std::ptrdiff_t ldy) {
  const std::ptrdiff_t next = std::ptrdiff_t{(tokens + 31) / 32} * kPairFloats;
  for (int t = 0; t < tokens; ++t, y += ldy) {
    const float* from = sums.data + t / 32 * kPairFloats +
                        t % 32 / kTileRows * (kPairFloats / 2) +
                        t % kTileRows * kTileCols;
    for (int c = 0; c < cols; c += TiledSums::kCols, from += next) {
      const Vec low = Vec::load(from);
      const Vec high = Vec::load(from + kPairFloats / 4);
      if (c + TiledSums::kCols <= cols) {
        low.store(y + c);
        high.store(y + c + kTileCols);
      } else {
        low.store(y + c, std::min(cols - c, kTileCols));
        high.store(
            y + c + kTileCols,
            std::clamp(cols - c - kTileCols, 0, kTileCols));
      }
    }
  }
}

/// Sums begin with a bias for each column.
inline void begin_with(
    const float* bias,
    int cols,
    int tokens,
    const TiledSums& sums) {
  const Vec low = Vec::load(bias, std::min(cols, kTileCols));
  const Vec high =
      Vec::load(bias + kTileCols, std::clamp(cols - kTileCols, 0, kTileCols));
  float* to = sums.data;
  for (int t = 0; t < tokens; t += kTileRows, to += kPairFloats / 2) {
    for (int r = 0; r < kTileRows; ++r) {
      low.store(to + r * kTileCols);
      high.store(to + kPairFloats / 4 + r * kTileCols);
    }
  }
}

/// A product whose right sides come 32 columns at a time, `columns` of them in
/// all. decode(i, k, end, next, out) decodes the i-th 32 along tiles [k, end)
/// of the depth: the first 16 columns to out, the second ones `next` words on.
template <class Decode>
struct TiledProduct {
  int columns = 0;
  const float* bias = nullptr;
  Decode decode;
};

/// Tokens from x's first on times 32-column pieces [begin, end).
template <class Tiles, class Decode>
void sum_tiles(
    const TiledProduct<Decode>& product,
    int begin,
    int end,
    const RoundedRows& x,
    int tokens,
    const TiledSums& out) {
  std::uint32_t* decoded = decoded_blocks();
  const int depth = x.depth_tiles();
  const int each = x.pass_tiles();
  TileStep step{};
  step.right = TileSide::of(decoded, kTileBytes, each * kTileSize, kTileSize);
  Tiles tiles;
  // The depth outside, pieces inside: their part of x stays in the cache.
  for (int k = 0; k < depth; k += each) {
    step.depth = x.tiles_from(k);
    for (int i = begin; i < end; ++i) {
      product.decode(i, k, k + step.depth, each * kTileWords, decoded);
      float* sums = out.data + std::ptrdiff_t{i - begin} *
                                   ((tokens + 31) / 32) * kPairFloats;
      if (k == 0 && product.bias != nullptr) {
        const int col = i * TiledSums::kCols;
        begin_with(product.bias + col, product.columns - col, tokens, {sums});
      }
      step.accumulate = k > 0 || product.bias != nullptr;
      for (int t = 0; t < tokens; t += TiledSums::kTokens) {
        step.left = TileSide::of(
            x.tile(t / kTileRows, k),
            kTileBytes,
            std::ptrdiff_t{step.depth} * kTileSize,
            kTileSize);
        step.sums = {sums, kTileCols, kPairFloats / 2, kPairFloats / 4};
        // Of a last tile alone there is no second one to read.
        if (tokens - t > kTileRows) {
          run_step<2, 2, true, TileCover::whole>(tiles, step);
        } else {
          run_step<1, 2, true, TileCover::whole>(tiles, step);
        }
        sums += kPairFloats;
      }
    }
  }
}

/// The same into rows of y.
template <class Tiles, class Decode>
void product_rows(
    const TiledProduct<Decode>& product,
    const ProductPiece& piece,
    const RoundedRows& x,
    float* y,
    int ldy) {
  for (int t = piece.token_begin; t < piece.token_end; t += kTiledTokens) {
    const int tokens = std::min(kTiledTokens, piece.token_end - t);
    for (int i = piece.block_begin; i < piece.block_end; i += kTiledPairs) {
      const int end = std::min(piece.block_end, i + kTiledPairs);
      const TiledSums sums = waiting_sums(tokens, end - i);
      sum_tiles<Tiles>(product, i, end, x.from(t), tokens, sums);
      const int col = i * TiledSums::kCols;
      write_sums(
          sums,
          tokens,
          std::min(product.columns, end * TiledSums::kCols) - col,
          y + std::ptrdiff_t{t} * ldy + col,
          ldy);
    }
  }
}

/// w's row blocks [begin, end) as pieces of 32 columns; bias: of its first row.
inline auto straight(
    const PackedMatrix& w,
    int begin,
    int end,
    const float* bias = nullptr) {
  auto decode = [&w, begin, end, decode = tile_decoder(w.format)](
                    int i,
                    int k,
                    int k_end,
                    std::ptrdiff_t next,
                    std::uint32_t* out) {
    for (int b = 0; b < kPairBlocks; ++b, out += next) {
      const int block = begin + kPairBlocks * i + b;
      if (block < end) {
        decode(w, block, k, k_end, out);
      } else {
        std::fill_n(out, (k_end - k) * kTileWords, 0u);
      }
    }
  };
  const int first = begin * kRowBlock;
  return TiledProduct<decltype(decode)>{
      std::min(w.rows, end * kRowBlock) - first,
      bias != nullptr ? bias + first : nullptr,
      decode};
}

inline int block_pairs(const ProductPiece& piece) {
  return (piece.block_end - piece.block_begin + kPairBlocks - 1) / kPairBlocks;
}

template <class Tiles>
void tile_product(
    const PackedMatrix& w,
    const ProductPiece& piece,
    const RoundedRows& x,
    float* y,
    int ldy) {
  product_rows<Tiles>(
      straight(w, piece.block_begin, piece.block_end),
      {0, block_pairs(piece), piece.token_begin, piece.token_end},
      x,
      y + piece.block_begin * kRowBlock,
      ldy);
}

template <class Tiles>
void tile_sums(
    const PackedMatrix& w,
    const ProductPiece& piece,
    const RoundedRows& x,
    const float* bias,
    const TiledSums& out) {
  sum_tiles<Tiles>(
      straight(w, piece.block_begin, piece.block_end, bias),
      0,
      block_pairs(piece),
      x.from(piece.token_begin),
      piece.token_end - piece.token_begin,
      out);
}

/// Right sides of 32 columns whose depth is w's rows, 32 at a time.
inline void decode_turned(
    const PackedMatrix& w,
    DecodeTiles decode,
    int group,
    int depth_begin,
    int depth_end,
    std::ptrdiff_t next,
    std::uint32_t* out) {
  constexpr int kHalf = kTileWords / 2;  // a block is 16 of 32 rows
  for (int k = depth_begin; k < depth_end; ++k, out += kTileWords) {
    for (int b = 0; b < kPairBlocks; ++b) {
      std::uint32_t* const sides[] = {out + b * kHalf, out + next + b * kHalf};
      const int block = kPairBlocks * k + b;
      if (block >= w.row_blocks()) {
        std::fill_n(sides[0], kHalf, 0u);
        std::fill_n(sides[1], kHalf, 0u);
        continue;
      }
      alignas(64) std::uint32_t tile[kTileWords];
      decode(w, block, group, group + 1, tile);
      turn_tile(tile, sides);
    }
  }
}

template <class Tiles>
void tile_product_back(
    const PackedMatrix& w,
    const ProductPiece& piece,
    const RoundedRows& y,
    float* x,
    int ldx) {
  auto decode = [&w, decode = tile_decoder(w.format)](
                    int group,
                    int k,
                    int end,
                    std::ptrdiff_t next,
                    std::uint32_t* out) {
    decode_turned(w, decode, group, k, end, next, out);
  };
  product_rows<Tiles>(
      TiledProduct<decltype(decode)>{w.cols, nullptr, decode},
      piece,
      y,
      x,
      ldx);
}

template <class Tiles>
constexpr Bf16ProductKernels bf16_product_of() {
  return {
      round_tokens,
      tile_product<Tiles>,
      tile_product_back<Tiles>,
      tile_sums<Tiles>,
      round_tiled_sums};
}

}  // namespace
}  // namespace roofline
