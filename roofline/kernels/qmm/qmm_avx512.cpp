// AVX-512 with VNNI: one register holds four columns of 16 rows, vpdpbusd adds
// their products into 16 sums. A tile is one row block times up to 8 tokens, or
// two blocks times up to 6 (wide_product_avx512.h), whose sums stay in
// registers while the blocks' streams pass by once.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "roofline/base/cpu_features.h"
#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/codes_avx512.h"
#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/quantize_four_avx512.h"
#include "roofline/kernels/qmm/wide_product_avx512.h"

namespace roofline {

namespace {

constexpr int kMostTokens = 8;  ///< measured: 12 and 16 gain nothing and spill

struct Tile {
  BlockGroups block;
  int groups;
  float unit;
  int offset;
  __m512i table;  ///< 16 bytes, four times
  __mmask16 rows;
  float* y;
  std::ptrdiff_t ldy;
};

/// What a group, or half of it, has of a tile's tokens: the first one's.
struct TokenSums {
  const std::int8_t* codes;
  const float* scales;
  const float* sums;              ///< scale·Σ xc of the columns
  const std::int32_t* code_sums;  ///< Σ xc of the group
  int offset;                     ///< 0: there are biases

  template <int kSets>
  TokenSums from(int token, std::ptrdiff_t stride, std::ptrdiff_t groups)
      const {
    return {
        codes + token * stride,
        scales + token * groups,
        sums + token * groups * kSets,
        code_sums + token * groups,
        offset};
  }
};

/// Adds the part of a group, or of half of it, for kCount tokens to their sums.
/// An offset is taken off in integers, as in wide tiles: a token's result
/// doesn't depend on how many others there are.
template <int kCount, int kSets>
inline void add_tokens(
    const __m512i* w,
    __m512 scale,
    __m512 bias,
    const TokenSums& x,
    std::ptrdiff_t stride,
    std::ptrdiff_t groups,
    __m512* y) {
  __m512i high[kCount];
  __m512i low[kCount];
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
    high[t] = _mm512_setzero_si512();
    low[t] = kSets == 1 ? _mm512_set1_epi32(-x.offset * x.code_sums[t * groups])
                        : _mm512_setzero_si512();
  }
#pragma GCC unroll 8
  for (int i = 0; i < kLines / kSets; ++i) {
#pragma GCC unroll 4
    for (int t = 0; t < kCount; ++t) {
      const std::int8_t* at = x.codes + t * stride + 4 * i;
      high[t] = _mm512_dpbusd_epi32(high[t], w[i], broadcast4(at));
      low[t] = _mm512_dpbusd_epi32(low[t], w[i], broadcast4(at + kGroup));
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
    const __m512i dots =
        _mm512_add_epi32(_mm512_slli_epi32(high[t], 7), low[t]);
    const __m512 factor =
        _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[t * groups]));
    y[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), factor, y[t]);
    if (kSets > 1 || x.offset == 0) {
      y[t] = _mm512_fmadd_ps(
          bias,
          _mm512_set1_ps(x.sums[t * groups * kSets]),
          y[t]);
    }
  }
}

template <PackedFormat kFormat, int kTokens>
void fast_tile(const Tile& tile, const QuantizedRows& x, int token) {
  // Four tokens at a time: enough independent chains to hide vpdpbusd's four
  // cycles, few enough for the registers.
  constexpr int kFour = 4;
  constexpr int kRest = kTokens % kFour;
  const std::ptrdiff_t stride = std::ptrdiff_t{kPlanes} * x.cols;
  const std::ptrdiff_t groups = tile.groups;
  constexpr int kSets = scale_sets(kFormat);
  TokenSums own{
      x.codes + token * stride,
      x.scales + token * groups,
      (kSets == 1 ? x.sums : x.half_sums) + token * groups * kSets,
      x.code_sums + token * groups,
      tile.offset};
  __m512 y[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    y[t] = _mm512_setzero_ps();
  }
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g);
    __m512i w[kLines];
    load_codes<kFormat>(stream, tile.table, w);
    if constexpr (kTokens <= kFewTokens) {
      ask_ahead<kFormat>(tile.block, stream, g, kStreamsOnce);
    }
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      const std::byte* halves = tile.block.scales(g, set);
      const __m512 scale = load_halves(halves);
      const __m512 bias = load_bias(tile.block, halves, scale);
      const __m512i* values = w + set * (kLines / kSets);
      TokenSums part = own;
      part.codes += set * (kGroup / kSets);
      part.sums += set;
#pragma GCC unroll 4
      for (int t = 0; t + kFour <= kTokens; t += kFour) {
        add_tokens<kFour, kSets>(
            values,
            scale,
            bias,
            part.from<kSets>(t, stride, groups),
            stride,
            groups,
            y + t);
      }
      if constexpr (kRest > 0) {
        constexpr int kFirst = kTokens - kRest;
        add_tokens<kRest, kSets>(
            values,
            scale,
            bias,
            part.from<kSets>(kFirst, stride, groups),
            stride,
            groups,
            y + kFirst);
      }
    }
    own.codes += kPlanes * kGroup;
    ++own.scales;
    own.sums += kSets;
    ++own.code_sums;
  }
  const __m512 unit = _mm512_set1_ps(tile.unit);
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    _mm512_mask_storeu_ps(
        tile.y + (token + t) * tile.ldy,
        tile.rows,
        _mm512_mul_ps(y[t], unit));
  }
}

/// A line's values in bytes: of eight columns, or in 8 bits of four.
template <PackedFormat kFormat>
struct ExactLine {
  ExactLine(const std::byte* from, __m512i table)
      : low(_mm512_loadu_si512(from)), high(low) {
    if constexpr (has_nibbles(kFormat)) {
      split_line<kFormat>(low, table, low, high);
    }
  }
  __m512i low;
  __m512i high;
};

/// As fast_tile with x in float32: each column's 16 weights are decoded once
/// for all tokens of the tile.
template <PackedFormat kFormat, int kTokens>
void exact_tile(const Tile& tile, const float* x, int token) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  constexpr int kLineCodes = kNibbles ? 8 : 4;
  constexpr int kSetLines = kGroup / kLineCodes / scale_sets(kFormat);
  // Columns take turns between sums where a token alone would wait for its own.
  constexpr int kChains = kTokens <= 2 ? 4 / kTokens : 1;
  const std::ptrdiff_t cols = std::ptrdiff_t{tile.groups} * kGroup;
  const __m512i mask = _mm512_set1_epi32(0xff);
  x += token * cols;
  __m512 y[kTokens * kChains];
#pragma GCC unroll 8
  for (__m512& sum : y) {
    sum = _mm512_setzero_ps();
  }
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g);
    for (int line = 0; line < kGroup / kLineCodes; ++line) {
      const std::byte* halves = tile.block.scales(g, line / kSetLines);
      const __m512 scale = load_halves(halves);
      const __m512 bias = load_bias(tile.block, halves, scale);
      const ExactLine<kFormat> bytes(stream + 64 * line, tile.table);
#pragma GCC unroll 8
      for (int c = 0; c < kLineCodes; ++c) {
        const __m512i code = _mm512_and_si512(
            _mm512_srli_epi32(
                c < 4 ? bytes.low : bytes.high,
                static_cast<unsigned>(8 * (c % 4))),
            mask);
        const __m512 w = _mm512_fmadd_ps(_mm512_cvtepi32_ps(code), scale, bias);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          __m512& sum = y[t * kChains + c % kChains];
          sum = _mm512_fmadd_ps(w, _mm512_set1_ps(x[t * cols + c]), sum);
        }
      }
      x += kLineCodes;
    }
  }
  const __m512 unit = _mm512_set1_ps(tile.unit);
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    __m512 sum = y[t * kChains];
#pragma GCC unroll 4
    for (int chain = 1; chain < kChains; ++chain) {
      sum = _mm512_add_ps(sum, y[t * kChains + chain]);
    }
    _mm512_mask_storeu_ps(
        tile.y + (token + t) * tile.ldy,
        tile.rows,
        _mm512_mul_ps(sum, unit));
  }
}

using FastTile = void (*)(const Tile&, const QuantizedRows&, int);
using ExactTile = void (*)(const Tile&, const float*, int);
constexpr int kMostExact = 8;

template <PackedFormat kFormat, int... kCounts>
constexpr std::array<FastTile, sizeof...(kCounts)> fast_tiles(
    std::integer_sequence<int, kCounts...>) {
  return {fast_tile<kFormat, kCounts + 1>...};
}

template <PackedFormat kFormat, int... kCounts>
constexpr std::array<ExactTile, sizeof...(kCounts)> exact_tiles(
    std::integer_sequence<int, kCounts...>) {
  return {exact_tile<kFormat, kCounts + 1>...};
}

/// Row blocks outside, token tiles inside: a block's stream stays in the cache
/// while all tokens pass over it.
template <class Tiles, class X>
void product(
    const Tiles& tiles,
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const X& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  // Tiles of about equal height: a token alone would wait for its own sums.
  const int all = token_end - token_begin;
  const int count = (all + static_cast<int>(tiles.size()) - 1) /
                    static_cast<int>(tiles.size());
  const int most = count > 0 ? (all + count - 1) / count : 1;
  if (block_begin < block_end && token_end - token_begin <= kFewTokens) {
    const std::byte* begin = w.block(block_begin);
    for (int i = 0; i < kAhead; i += 64) {
      if (kStreamsOnce) {
        prefetch_once(begin + i);
      } else {
        prefetch_soon(begin + i);
      }
    }
  }
  for (int block = block_begin; block < block_end; ++block) {
    const int first = block * kRowBlock;
    const int rows = std::min(kRowBlock, w.rows - first);
    const Tile tile{
        w.block_groups(block),
        w.groups(),
        w.unit,
        w.offset,
        load_table(w),
        static_cast<__mmask16>((1u << rows) - 1),
        y + first,
        ldy};
    for (int token = token_begin; token < token_end; token += most) {
      const int tokens = std::min(most, token_end - token);
      tiles[static_cast<std::size_t>(tokens - 1)](tile, x, token);
    }
  }
}

/// Wide tiles ask for the pair of blocks after their own: this asks for the
/// first one, whose lines would come one by one. Of more than kAskedTokens
/// tokens it is a small part of the work.
constexpr int kAskedTokens = 16;

/// Another core may have just written x: its lines come one by one otherwise.
[[gnu::always_inline]] inline void ask_for_rows(
    const QuantizedRows& x,
    int token_begin,
    int token_end) {
  const auto ask = [](const void* from, std::ptrdiff_t bytes)
      __attribute__((always_inline)) {
    const auto* at = static_cast<const std::byte*>(from);
    for (std::ptrdiff_t i = 0; i < bytes; i += 64) {
      prefetch_soon(at + i);
    }
    prefetch_soon(at + bytes - 1);
  };
  const std::ptrdiff_t tokens = token_end - token_begin;
  const std::ptrdiff_t groups = x.cols / kGroup;
  const std::ptrdiff_t first = token_begin * groups;
  ask(x.codes + first * kPlanes * kGroup, tokens * groups * kPlanes * kGroup);
  ask(x.scales + first, tokens * groups * 4);
  ask(x.sums + first, tokens * groups * 4);
  ask(x.code_sums + first, tokens * groups * 4);
}

[[gnu::always_inline]] inline void ask_for_pair(
    const PackedMatrix& w,
    int block_begin,
    int block_end) {
  const std::byte* begin = w.block(block_begin);
  const std::ptrdiff_t bytes =
      w.block_bytes() * std::min(kWideBlocks, block_end - block_begin);
  for (std::ptrdiff_t at = 0; at < bytes; at += 64) {
    prefetch_soon(begin + at);
  }
}

void fast(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const int tokens = token_end - token_begin;
  if (tokens <= kAskedTokens) {
    ask_for_rows(x, token_begin, token_end);
  }
  if (fits_wide(tokens)) {
    if (tokens <= kAskedTokens) {
      ask_for_pair(w, block_begin, block_end);
    }
    block_begin =
        wide(w, block_begin, block_end, x, token_begin, token_end, y, ldy);
  }
  using Counts = std::make_integer_sequence<int, kMostTokens>;
  static constexpr auto kTiles = by_format(
      []<PackedFormat kFormat>() { return fast_tiles<kFormat>(Counts{}); });
  product(
      kTiles[format_index(w.format)],
      w,
      block_begin,
      block_end,
      x,
      token_begin,
      token_end,
      y,
      ldy);
}

void exact(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const float* x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  using Counts = std::make_integer_sequence<int, kMostExact>;
  static constexpr auto kTiles = by_format(
      []<PackedFormat kFormat>() { return exact_tiles<kFormat>(Counts{}); });
  product(
      kTiles[format_index(w.format)],
      w,
      block_begin,
      block_end,
      x,
      token_begin,
      token_end,
      y,
      ldy);
}

/// Steps of 2, 3, 4, 8 and 16 sequences take 0.90 to 0.96 of what they take
/// with the whole head, two and four checked guesses 0.92 to 0.94 (SmolLM2's
/// shape, two cores of an Emerald Rapids, every other step the other way).
constexpr int kLeastCoarseRows = 2;

}  // namespace

const QmmKernels& qmm_avx512() {
  static constexpr QmmKernels kKernels{
      "avx512",
      quantize_in_fours<quantize_four, quantize_group>,
      fast,
      exact,
      trim_rows<Avx512Groups>,
      true,
      kLeastCoarseRows};
  return kKernels;
}

}  // namespace roofline
