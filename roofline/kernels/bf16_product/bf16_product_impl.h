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
#include "roofline/kernels/bf16_product/tile_codes.h"
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

/// A bias for each of some columns, or none.
struct ColumnBias {
  const float* at = nullptr;
  int cols = 0;
};

/// A product whose right sides come 32 columns at a time. decode(i, k, end,
/// next, out) decodes the i-th 32 along tiles [k, end) of the depth: the first
/// 16 columns to out, the second ones `next` words on. bias(i) is theirs, and
/// ahead(i, k, end) is what decode will read.
template <class Decode, class Bias, class Ahead>
struct TiledProduct {
  Decode decode;
  Bias bias;
  Ahead ahead;
};

/// For clang 16 and older, which deduce no aggregate's types.
template <class Decode, class Bias, class Ahead>
TiledProduct(Decode, Bias, Ahead) -> TiledProduct<Decode, Bias, Ahead>;

/// Some tiles of sums of a product: 32 columns, `tokens` tokens from one on.
struct SumsOfTokens {
  int piece = 0;  ///< of 32 columns
  int token = 0;
  int tokens = 0;            ///< 32 at most
  float* waiting = nullptr;  ///< [2, 2, 16, 16]
  CodesAhead* codes = nullptr;
};

/// What of the depth is left is added to waiting sums.
template <class Tiles, class Ahead>
void add_to_waiting(
    Tiles& tiles,
    TileStep& step,
    const SumsOfTokens& sums,
    Ahead ahead) {
  step.sums = {sums.waiting, kTileCols, kPairFloats / 2, kPairFloats / 4};
  // Of a last tile alone there is no second one to read.
  if (sums.tokens > kTileRows) {
    run_step<2, 2, true, TileCover::whole>(tiles, step, ahead);
  } else {
    run_step<1, 2, true, TileCover::whole>(tiles, step, ahead);
  }
}

/// What comes after a step: the sums of the next tokens, where they were begun,
/// for it begins by reading them, and codes.
struct NextAhead {
  LinesAhead sums;
  CodesAhead* codes;

  [[gnu::always_inline]] void operator()(int k) const {
    sums(k);
    (*codes)();
  }
};

inline NextAhead next_ahead(const TileStep& step, const SumsOfTokens& sums) {
  return {
      LinesAhead::of(
          sums.waiting + kPairFloats,
          2 * kTileBytes,
          step.accumulate ? TiledSums::kTokens : 0,
          step.depth),
      sums.codes};
}

/// Waiting sums and what is left of the depth into rows of y.
template <class Tiles>
void write_rows(
    Tiles& tiles,
    TileStep& step,
    const SumsOfTokens& sums,
    int cols,
    float* y,
    std::ptrdiff_t ldy) {
  step.sums = SumPlaces::of(y, ldy);
  step.rows = sums.tokens;
  step.cols = cols;
  step.waiting = sums.waiting;
  const auto own = LinesAhead::of(y, 4 * ldy, sums.tokens, step.depth);
  const NextAhead next = next_ahead(step, sums);
  const auto ahead = [&](int k) {
    own(k);
    next(k);
  };
  constexpr TileCover kPartial = TileCover::partial;
  if (sums.tokens == TiledSums::kTokens && cols >= TiledSums::kCols) {
    run_step<2, 2, true, TileCover::whole>(tiles, step, ahead);
  } else if (sums.tokens > kTileRows) {
    cols > kTileCols ? run_step<2, 2, true, kPartial>(tiles, step, ahead)
                     : run_step<2, 1, true, kPartial>(tiles, step, ahead);
  } else {
    cols > kTileCols ? run_step<1, 2, true, kPartial>(tiles, step, ahead)
                     : run_step<1, 1, true, kPartial>(tiles, step, ahead);
  }
  step.waiting = nullptr;
}

/// Tokens from x's first on times 32-column pieces [begin, end). Over the last
/// of the depth last(tiles, step, sums) is called instead of adding to waiting
/// ones.
template <class Tiles, class Product, class Last>
void sum_tiles(
    const Product& product,
    int begin,
    int end,
    const RoundedRows& x,
    int tokens,
    const TiledSums& waiting,
    Last last) {
  std::uint32_t* decoded = decoded_blocks();
  const int depth = x.depth_tiles();
  const int each = x.pass_tiles();
  const int pairs = (tokens + TiledSums::kTokens - 1) / TiledSums::kTokens;
  TileStep step{};
  step.right = TileSide::of(decoded, kTileBytes, each * kTileSize, kTileSize);
  Tiles tiles;
  // The depth outside, pieces inside: their part of x stays in the cache.
  for (int k = 0; k < depth; k += each) {
    step.depth = x.tiles_from(k);
    for (int i = begin; i < end; ++i) {
      product.decode(i, k, k + step.depth, each * kTileWords, decoded);
      const int after = i + 1 < end ? k : k + each;
      CodesAhead codes = product.ahead(
          i + 1 < end ? i + 1 : begin,
          after,
          std::min(depth, after + each));
      SumsOfTokens sums{
          i,
          0,
          0,
          waiting.data + std::ptrdiff_t{i - begin} * pairs * kPairFloats,
          &codes};
      const ColumnBias bias = product.bias(i);
      if (k == 0 && bias.at != nullptr) {
        begin_with(bias.at, bias.cols, tokens, {sums.waiting});
      }
      step.accumulate = k > 0 || bias.at != nullptr;
      for (int pair = 0; pair < pairs; ++pair) {
        sums.token = pair * TiledSums::kTokens;
        sums.tokens = std::min(tokens - sums.token, TiledSums::kTokens);
        step.left = TileSide::of(
            x.tile(sums.token / kTileRows, k),
            kTileBytes,
            std::ptrdiff_t{step.depth} * kTileSize,
            kTileSize);
        if (k + each >= depth) {
          last(tiles, step, sums);
        } else {
          add_to_waiting(tiles, step, sums, next_ahead(step, sums));
        }
        sums.waiting += kPairFloats;
      }
    }
  }
}

/// The same into rows of y, `columns` in all.
template <class Tiles, class Product>
void product_rows(
    const Product& product,
    int columns,
    const ProductPiece& piece,
    const RoundedRows& x,
    float* y,
    int ldy) {
  for (int t = piece.token_begin; t < piece.token_end; t += kTiledTokens) {
    const int tokens = std::min(kTiledTokens, piece.token_end - t);
    for (int i = piece.block_begin; i < piece.block_end; i += kTiledPairs) {
      const int end = std::min(piece.block_end, i + kTiledPairs);
      sum_tiles<Tiles>(
          product,
          i,
          end,
          x.from(t),
          tokens,
          waiting_sums(tokens, end - i),
          [&](Tiles& tiles, TileStep& step, const SumsOfTokens& sums) {
            const int col = sums.piece * TiledSums::kCols;
            write_rows(
                tiles,
                step,
                sums,
                columns - col,
                y + std::ptrdiff_t{t + sums.token} * ldy + col,
                ldy);
          });
    }
  }
}

/// Decodes blocks [block, end) of w, two at most; of what isn't there zeros.
inline void decode_pair(
    const PackedMatrix& w,
    DecodeTiles decode,
    int block,
    int block_end,
    int k,
    int k_end,
    std::ptrdiff_t next,
    std::uint32_t* out) {
  for (int b = 0; b < kPairBlocks; ++b, out += next) {
    if (block + b < block_end) {
      decode(w, block + b, k, k_end, out);
    } else {
      std::fill_n(out, (k_end - k) * kTileWords, 0u);
    }
  }
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
  const int begin = piece.block_begin;
  const int tokens = piece.token_end - piece.token_begin;
  if (fits_codes(w, tokens)) {
    coded_product<Tiles>(
        w,
        begin,
        piece.block_end,
        x.from(piece.token_begin),
        tokens,
        ldy,
        [&](int block, int t) {
          return y + std::ptrdiff_t{piece.token_begin + t} * ldy +
                 block * kRowBlock;
        });
    return;
  }
  const DecodeTiles decode = tile_decoder(w.format);
  const TiledProduct product{
      [&](int i, int k, int k_end, std::ptrdiff_t next, std::uint32_t* out) {
        const int block = begin + kPairBlocks * i;
        decode_pair(w, decode, block, piece.block_end, k, k_end, next, out);
      },
      [](int) { return ColumnBias{}; },
      [&](int i, int k, int k_end) {
        return codes_of_pair(w, begin + kPairBlocks * i, k, k_end);
      }};
  const int first = begin * kRowBlock;
  product_rows<Tiles>(
      product,
      std::min(w.rows, piece.block_end * kRowBlock) - first,
      {0, block_pairs(piece), piece.token_begin, piece.token_end},
      x,
      y + first,
      ldy);
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
  const DecodeTiles decode = tile_decoder(w.format);
  const TiledProduct product{
      [&](int group, int k, int end, std::ptrdiff_t next, std::uint32_t* out) {
        decode_turned(w, decode, group, k, end, next, out);
      },
      [](int) { return ColumnBias{}; },
      [](int, int, int) { return CodesAhead{}; }};
  product_rows<Tiles>(product, w.cols, piece, y, x, ldx);
}

}  // namespace
}  // namespace roofline
