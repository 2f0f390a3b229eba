// Products of few tokens with 4-bit weights on tiles: codes become bfloat16 by
// one table lookup, unscaled and exact, and each group's sums are scaled as
// they leave the tiles. Decoding a block, which few tokens can't make up for,
// takes a quarter of the instructions that scaled weights take; the end of each
// group costs two for each token, so that many tokens are better off without
// (tile_decode.h).
// Included by files compiled for AMX only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/bf16_product/bf16_product.h"
#include "roofline/kernels/bf16_product/tile_decode.h"
#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/simd/bf16_pairs.h"
#include "roofline/kernels/simd/tiles.h"

namespace roofline {
namespace {

/// What one tile of tokens is for such products.
struct CodedTokens {
  const std::uint32_t* tiles;  ///< [groups, 16, 16] pairs, in a line's order
  const float* sums;           ///< [groups, 16]
  int tokens;                  ///< 16 at most
};

/// Up to so many tokens: 16 take two thirds of the time of scaled weights in a
/// step of an Emerald Rapids, 32 four fifths.
constexpr int kCodedTokens = 32;

inline bool fits_codes(const PackedMatrix& w, int tokens) {
  return tokens <= kCodedTokens &&
         (w.format == PackedFormat::q4 || w.format == PackedFormat::q4_table);
}

/// A lookup takes the low nibble of each half of a row's word: a line of eight
/// columns gives the pairs (0, 2), (4, 6), (1, 3) and (5, 7). x in that order.
inline __m512i in_order_of_lines(__m512i pairs) {
  alignas(64) static constexpr std::int16_t kOrder[32] = {
      0,  2,  4,  6,  1,  3,  5,  7,  8,  10, 12, 14, 9,  11, 13, 15,
      16, 18, 20, 22, 17, 19, 21, 23, 24, 26, 28, 30, 25, 27, 29, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), pairs);
}

/// The first 16 tokens of x; valid until the thread's next call.
inline CodedTokens coded_tokens(const RoundedRows& x, int tokens, bool sums) {
  thread_local AlignedBuffer<std::uint32_t> tiles_memory;
  thread_local AlignedBuffer<float> sums_memory;
  const int groups = x.depth_tiles();
  const auto size = static_cast<std::size_t>(groups);
  tiles_memory.grow(size * kTileWords);
  sums_memory.grow(size * kTileRows);
  const __m512i ones = _mm512_set1_epi16(0x3f80);
  std::uint32_t* to = tiles_memory.data();
  for (int g = 0; g < groups; ++g, to += kTileWords) {
    const std::uint16_t* from = x.tile(0, g);
    for (int t = 0; t < kTileRows; ++t) {
      const __m512i pairs = _mm512_load_si512(from + t * kTileDepth);
      _mm512_store_si512(to + t * kTileCols, in_order_of_lines(pairs));
      if (sums) {
        sums_memory.data()[g * kTileRows + t] =
            _mm512_reduce_add_ps(_mm512_dpbf16_ps(
                _mm512_setzero_ps(),
                (__m512bh)pairs,
                (__m512bh)ones));
      }
    }
  }
  return {tiles_memory.data(), sums_memory.data(), tokens};
}

/// The value of a code less the offset, by the code and whatever bit follows.
inline __m512i value_lookup(const PackedMatrix& w) {
  const __m512i codes = _mm512_cvtepu8_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(w.table.data())));
  const __m512 values =
      _mm512_cvtepi32_ps(_mm512_sub_epi32(codes, _mm512_set1_epi32(w.offset)));
  return rounded_pairs(values, values);
}

/// fn<token>() for each token of a tile: with indices that are constants from
/// the start, gcc keeps a token's sums in a register.
template <class Fn>
[[gnu::always_inline]] inline void each_token(Fn fn) {
  [&]<int... kTokens>(std::integer_sequence<int, kTokens...>)
      __attribute__((always_inline)) {
    (fn.template operator()<kTokens>(), ...);
  }
  (std::make_integer_sequence<int, kTileRows>{});
}

/// One row block times one tile of tokens. A group goes through in three
/// steps, each one group behind the step before, so that none waits for what
/// another has just stored.
template <class Tiles, bool kBiases>
class CodedBlock {
 public:
  CodedBlock(
      Tiles& tiles,
      const PackedMatrix& w,
      __m512i lookup,
      const CodedTokens& x)
      : tiles_(tiles), w_(w), lookup_(lookup), x_(x) {}

  /// y: the block's first column of the first token, written for `rows` rows.
  void run(int block, float* y, std::ptrdiff_t ldy, int rows) {
    const BlockGroups groups = w_.block_groups(block);
    const int count = w_.groups();
    __m512 sums[kTileRows];
    each_token([&]<int kToken>() __attribute__((always_inline)) {
      sums[kToken] = _mm512_setzero_ps();
    });
    decode<0>(groups, 0);
    if (count > 1) {
      decode<1>(groups, 1);
    }
    multiply<0>(0);
    int g = 0;
    for (; g + 2 <= count; g += 2) {
      step<0>(groups, g, count, sums);
      step<1>(groups, g + 1, count, sums);
    }
    if (g < count) {
      step<0>(groups, g, count, sums);
    }
    const __m512 unit = _mm512_set1_ps(w_.unit);
    const auto mask = static_cast<__mmask16>((1u << rows) - 1);
    each_token([&]<int kToken>() __attribute__((always_inline)) {
      if (kToken < x_.tokens) {
        _mm512_mask_storeu_ps(
            y + kToken * ldy,
            mask,
            _mm512_mul_ps(sums[kToken], unit));
      }
    });
  }

 private:
  /// Group g's sums are ready for their scales once g + 1 is on its way.
  template <int kPlace>
  [[gnu::always_inline]] void step(
      const BlockGroups& groups,
      int g,
      int count,
      __m512* sums) {
    if (g + 2 < count) {
      decode<kPlace>(groups, g + 2);
    }
    if (g + 1 < count) {
      multiply<1 - kPlace>(g + 1);
    }
    add_scaled<kPlace>(groups, g, sums);
  }

  template <int kPlace>
  [[gnu::always_inline]] void decode(const BlockGroups& groups, int g) {
    const std::byte* stream = groups.codes(g);
    ask_ahead<PackedFormat::q4>(groups, stream, g);
    std::uint32_t* to = place_.codes[kPlace];
#pragma GCC unroll 4
    for (int line = 0; line < 4; ++line, to += 4 * kTileCols) {
      const __m512i codes = _mm512_loadu_si512(stream + 64 * line);
      const auto store = [&](int i, __m512i low)
          __attribute__((always_inline)) {
        _mm512_store_si512(
            to + i * kTileCols,
            _mm512_permutexvar_epi16(low, lookup_));
      };
      store(0, codes);
      store(1, _mm512_srli_epi16(codes, 4));
      store(2, _mm512_srli_epi16(codes, 8));
      store(3, _mm512_srli_epi16(codes, 12));
    }
  }

  template <int kPlace>
  [[gnu::always_inline]] void multiply(int g) {
    tiles_.template zero_sum<0, kPlace>();
    tiles_.template load_left<0>(
        x_.tiles + std::ptrdiff_t{g} * kTileWords,
        kTileBytes);
    tiles_.template load_right<kPlace>(place_.codes[kPlace], kTileBytes);
    tiles_.template add_product<0, kPlace>();
    tiles_.template store_sum<0, kPlace>(place_.sums[kPlace], kTileBytes);
  }

  template <int kPlace>
  [[gnu::always_inline]] void add_scaled(
      const BlockGroups& groups,
      int g,
      __m512* sums) {
    const std::byte* halves = groups.scales(g);
    const __m512 scale = load_halves(halves);
    const float* from = place_.sums[kPlace];
    each_token([&]<int kToken>() __attribute__((always_inline)) {
      sums[kToken] = _mm512_fmadd_ps(
          _mm512_load_ps(from + kToken * kTileCols),
          scale,
          sums[kToken]);
    });
    if constexpr (kBiases) {
      const __m512 bias = load_halves(halves + kSetScales);
      const float* x = x_.sums + std::ptrdiff_t{g} * kTileRows;
      each_token([&]<int kToken>() __attribute__((always_inline)) {
        sums[kToken] =
            _mm512_fmadd_ps(bias, _mm512_set1_ps(x[kToken]), sums[kToken]);
      });
    }
  }

  struct Places {
    alignas(64) std::uint32_t codes[2][kTileWords];
    alignas(64) float sums[2][kTileRows * kTileCols];
  };

  Tiles& tiles_;
  const PackedMatrix& w_;
  __m512i lookup_;
  CodedTokens x_;
  Places place_;
};

/// Blocks [begin, end) of w times tokens from x's first on; to(block, token)
/// says where a block's sums of 16 tokens go, rows of ldy floats.
template <class Tiles, bool kBiases, class To>
void coded_blocks(
    const PackedMatrix& w,
    int begin,
    int end,
    const RoundedRows& x,
    int tokens,
    std::ptrdiff_t ldy,
    To to) {
  const __m512i lookup = value_lookup(w);
  for (int t = 0; t < tokens; t += kTileRows) {
    const CodedTokens own =
        coded_tokens(x.from(t), std::min(kTileRows, tokens - t), kBiases);
    Tiles tiles;
    CodedBlock<Tiles, kBiases> product(tiles, w, lookup, own);
    for (int block = begin; block < end; ++block) {
      const int rows = std::min(kRowBlock, w.rows - block * kRowBlock);
      product.run(block, to(block, t), ldy, rows);
    }
  }
}

template <class Tiles, class To>
void coded_product(
    const PackedMatrix& w,
    int begin,
    int end,
    const RoundedRows& x,
    int tokens,
    std::ptrdiff_t ldy,
    To to) {
  if (w.offset == 0) {
    coded_blocks<Tiles, true>(w, begin, end, x, tokens, ldy, to);
  } else {
    coded_blocks<Tiles, false>(w, begin, end, x, tokens, ldy, to);
  }
}

}  // namespace
}  // namespace roofline
