// The product over a tile policy (simd/tiles.h): two row blocks times two tiles
// of tokens at a time, whose sums stay in tiles along the depth (tile_step.h).
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
/// Tiles along the depth at a time: 1024 columns. Two decoded blocks are 128
/// KiB then, and those columns of 512 tokens 1 MiB, both of a second-level
/// cache of 2 MiB, which every processor with AMX has. Sums of a deeper product
/// wait in y.
constexpr int kDepthTiles = 32;

/// A thread's decoded blocks: [2, tiles of a pass, 256].
inline std::uint32_t* decoded_blocks() {
  thread_local AlignedBuffer<std::uint32_t> blocks;
  blocks.grow(std::size_t{kPairBlocks} * kDepthTiles * kTileWords);
  return blocks.data();
}

inline void round_tokens(
    const float* x,
    int count,
    int token,
    int col,
    const RoundedRows& out) {
  std::uint16_t* to =
      out.tiles + RoundedRows::size(token / kTileRows * kTileRows, out.cols) +
      std::ptrdiff_t{col} * kTileRows + token % kTileRows * kTileDepth;
  for (int c = 0; c < count; c += kTileDepth) {
    const int left = count - c;
    const __m512 low =
        _mm512_maskz_loadu_ps(Vec::mask(std::min(left, 16)), x + c);
    const __m512 high = _mm512_maskz_loadu_ps(
        Vec::mask(std::clamp(left - 16, 0, 16)),
        x + c + 16);
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    to += kTileRows * kTileDepth;
  }
}

/// Columns of a result.
struct Columns {
  int begin = 0;
  int count = 0;
};

/// Pieces [begin, end), `stride` apart, for tokens [token_begin, token_end).
struct ProductRange {
  int begin = 0;
  int end = 0;
  int stride = 1;
  int token_begin = 0;
  int token_end = 0;
};

/// A product of depth `values`: decode(i, k, end, out) decodes piece i of the
/// right side along tiles [k, end) of the depth, columns_of(i) says which
/// columns of y it makes.
template <class Tiles, class Decode, class ColumnsOf>
void product_over(
    const ProductRange& range,
    int values,
    const RoundedRows& x,
    float* y,
    int ldy,
    const Decode& decode,
    const ColumnsOf& columns_of) {
  std::uint32_t* decoded = decoded_blocks();
  const int depth = (values + kTileDepth - 1) / kTileDepth;
  const std::uint16_t* from = x.from(range.token_begin).tiles;
  TileStep step{};
  step.left = TileSide::of(nullptr, kTileBytes, depth * kTileSize, kTileSize);
  step.right =
      TileSide::of(decoded, kTileBytes, kDepthTiles * kTileSize, kTileSize);
  step.rows = range.token_end - range.token_begin;
  y += static_cast<std::ptrdiff_t>(range.token_begin) * ldy;
  Tiles tiles;
  // The depth outside, pieces inside: their part of x stays in the cache.
  for (int k = 0; k < depth; k += kDepthTiles) {
    const int end = std::min(depth, k + kDepthTiles);
    step.left.at = reinterpret_cast<const std::byte*>(from) +
                   std::ptrdiff_t{k} * kTileSize;
    step.depth = end - k;
    step.accumulate = k > 0;
    for (int i = range.begin; i < range.end; i += range.stride) {
      decode(i, k, end, decoded);
      const Columns columns = columns_of(i);
      step.sums = TileSums::of(y + columns.begin, ldy);
      step.cols = columns.count;
      run_steps<true>(tiles, step);
    }
  }
}

template <class Tiles>
void tile_product(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const RoundedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const DecodeTiles decode = tile_decoder(w.format);
  const auto blocks_at = [&](int block) {
    return std::min(kPairBlocks, block_end - block);
  };
  product_over<Tiles>(
      {block_begin, block_end, kPairBlocks, token_begin, token_end},
      w.cols,
      x,
      y,
      ldy,
      [&](int block, int k, int end, std::uint32_t* out) {
        for (int b = 0; b < blocks_at(block); ++b) {
          decode(w, block + b, k, end, out + b * kDepthTiles * kTileWords);
        }
      },
      [&](int block) {
        const int first = block * kRowBlock;
        return Columns{
            first,
            std::min(w.rows - first, blocks_at(block) * kRowBlock)};
      });
}

/// Right sides of 32 columns whose depth is w's rows, 32 at a time.
inline void decode_turned(
    const PackedMatrix& w,
    DecodeTiles decode,
    int group,
    int depth_begin,
    int depth_end,
    std::uint32_t* out) {
  constexpr int kHalf = kTileWords / 2;  // a block is 16 of 32 rows
  for (int k = depth_begin; k < depth_end; ++k, out += kTileWords) {
    for (int b = 0; b < kPairBlocks; ++b) {
      std::uint32_t* const sides[] = {
          out + b * kHalf,
          out + kDepthTiles * kTileWords + b * kHalf};
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
    int group_begin,
    int group_end,
    const RoundedRows& y,
    int token_begin,
    int token_end,
    float* x,
    int ldx) {
  const DecodeTiles decode = tile_decoder(w.format);
  product_over<Tiles>(
      {group_begin, group_end, 1, token_begin, token_end},
      w.rows,
      y,
      x,
      ldx,
      [&](int group, int k, int end, std::uint32_t* out) {
        decode_turned(w, decode, group, k, end, out);
      },
      [&](int group) {
        const int first = group * kGroup;
        return Columns{first, std::min(w.cols - first, kGroup)};
      });
}

template <class Tiles>
constexpr Bf16ProductKernels bf16_product_of() {
  return {round_tokens, tile_product<Tiles>, tile_product_back<Tiles>};
}

}  // namespace
}  // namespace roofline
