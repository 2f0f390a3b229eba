// Products with many tokens. A tile is two row blocks, so that a broadcast of x
// serves 32 rows, times four to six tokens, whose sums stay in registers. High
// codes are multiplied four columns at a time, only where a token of the tile
// has some. Included by wide_product_avx512.h.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/codes_avx512.h"
#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

namespace {

constexpr int kWideBlocks = 2;
constexpr int kLeastWide = 4;  ///< tokens: fewer leave vpdpbusd waiting
constexpr int kMostWide = 6;   ///< measured: more spill
constexpr int kMostBoth = 4;   ///< tokens whose planes both fit the registers

struct WideTile {
  BlockGroups block;    ///< the first of them
  std::ptrdiff_t next;  ///< bytes from the one block to the other
  int groups;
  float unit;
  __m512i table;        ///< 16 bytes, four times
  __mmask16 last_rows;  ///< of the second block
  int ahead;            ///< the first group whose successors two blocks on are
                        ///< asked for, and from there each ahead_step-th
  int ahead_step;
  /// [groups]: bit i is 1 where there are high codes in columns 4i…4i+3.
  const std::uint8_t* high;
  /// [tokens, groups]: what a group's integer sums start with, minus the offset
  /// times Σ xc; 0 where there are biases. Of the tokens of a call, from
  /// first_token.
  const std::int32_t* starts;
  int first_token;
  float* y;
  std::ptrdiff_t ldy;
};

/// dots[block][token] += Σ values·x over four columns. codes: the first
/// token's of these columns, in one plane.
template <int kTokens>
inline void add_columns(
    const __m512i* values,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    __m512i (*dots)[kTokens]) {
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    const __m512i four = broadcast4(codes + t * stride);
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
      dots[b][t] = _mm512_dpbusd_epi32(dots[b][t], values[b], four);
    }
  }
}

/// The same over the columns of one set of scales. BOTH: dots' second half is
/// of the other plane, kGroup codes further, so that a line is unpacked once.
template <PackedFormat kFormat, int kTokens, bool BOTH = false>
inline void add_plane(
    const WideTile& tile,
    const std::byte* lines,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    __m512i (*dots)[kTokens]) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  constexpr int kLineCols = kNibbles ? 8 : 4;
  constexpr int kCols = kGroup / scale_sets(kFormat);
  const auto add = [&](const __m512i* values, const std::int8_t* at) {
    add_columns<kTokens>(values, at, stride, dots);
    if constexpr (BOTH) {
      add_columns<kTokens>(values, at + kGroup, stride, dots + kWideBlocks);
    }
  };
#pragma GCC unroll 8
  for (int i = 0; i < kCols / kLineCols; ++i) {
    __m512i w[kWideBlocks];
    __m512i second[kWideBlocks];
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
      w[b] = _mm512_loadu_si512(lines + b * tile.next + 64 * i);
      if constexpr (kNibbles) {
        split_line<kFormat>(w[b], tile.table, w[b], second[b]);
      }
    }
    add(w, codes + kLineCols * i);
    if constexpr (kNibbles) {
      add(second, codes + kLineCols * i + 4);
    }
  }
}

/// The same over the columns whose bits are set in `high`.
template <PackedFormat kFormat, int kTokens>
inline void add_some(
    const WideTile& tile,
    const std::byte* lines,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    unsigned high,
    __m512i (*dots)[kTokens]) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  for (; high != 0; high &= high - 1) {
    const int i = std::countr_zero(high);
    const std::byte* line = lines + 64 * (kNibbles ? i / 2 : i);
    __m512i w[kWideBlocks];
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
      w[b] = _mm512_loadu_si512(line + b * tile.next);
      if constexpr (kNibbles) {
        const __m512i nibbles = _mm512_and_si512(
            _mm512_srl_epi16(w[b], _mm_cvtsi32_si128(i % 2 * 4)),
            _mm512_set1_epi8(0x0f));
        w[b] = values_of<kFormat>(nibbles, tile.table);
      }
    }
    add_columns<kTokens>(w, codes + 4 * i, stride, dots);
  }
}

/// What a set of scales needs of a tile's tokens, the first one's: the others'
/// are a token's stride further.
struct WideSet {
  const std::byte* lines;
  const std::byte* halves;
  const std::int8_t* codes;
  unsigned high;  ///< bits of the set's columns
  const std::int32_t* starts;
  const float* scales;
  const float* sums;
};

/// WideSet::high where all of its columns have high codes.
template <PackedFormat kFormat>
constexpr unsigned kAllBits = (1u << (kGroup / 4 / scale_sets(kFormat))) - 1;

/// What the integer sums of a tile's token start with.
template <PackedFormat kFormat>
inline __m512i start_of(const WideTile& tile, const WideSet& set, int token) {
  return scale_sets(kFormat) == 1
             ? _mm512_set1_epi32(set.starts[token * tile.groups])
             : _mm512_setzero_si512();
}

/// dots = starts + Σ values·codes of all columns, at most kMostBoth tokens.
template <PackedFormat kFormat, int kTokens>
inline void both_planes(
    const WideTile& tile,
    const WideSet& set,
    std::ptrdiff_t stride,
    __m512i (*dots)[kTokens]) {
  __m512i planes[2 * kWideBlocks][kTokens];
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
      planes[b][t] = _mm512_setzero_si512();
      planes[kWideBlocks + b][t] = start_of<kFormat>(tile, set, t);
    }
  }
  add_plane<kFormat, kTokens, true>(tile, set.lines, set.codes, stride, planes);
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
      dots[b][t] = _mm512_add_epi32(
          _mm512_slli_epi32(planes[b][t], 7),
          planes[kWideBlocks + b][t]);
    }
  }
}

/// dots = starts + 128·Σ values·high codes
template <PackedFormat kFormat, int kTokens>
inline void start_dots(
    const WideTile& tile,
    const WideSet& set,
    std::ptrdiff_t stride,
    __m512i (*dots)[kTokens]) {
  const auto start = [&](int t) { return start_of<kFormat>(tile, set, t); };
  if (set.high == 0) {
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      dots[0][t] = start(t);
      dots[1][t] = dots[0][t];
    }
    return;
  }
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    dots[0][t] = _mm512_setzero_si512();
    dots[1][t] = _mm512_setzero_si512();
  }
  if (set.high == kAllBits<kFormat>) {
    add_plane<kFormat, kTokens>(tile, set.lines, set.codes, stride, dots);
  } else {
    add_some<kFormat, kTokens>(
        tile,
        set.lines,
        set.codes,
        stride,
        set.high,
        dots);
  }
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    dots[0][t] = _mm512_add_epi32(_mm512_slli_epi32(dots[0][t], 7), start(t));
    dots[1][t] = _mm512_add_epi32(_mm512_slli_epi32(dots[1][t], 7), start(t));
  }
}

/// y[block][token] += the columns of one set of scales.
template <PackedFormat kFormat, int kTokens>
inline void add_set(
    const WideTile& tile,
    const WideSet& set,
    std::ptrdiff_t stride,
    __m512 (*y)[kTokens]) {
  constexpr int kSets = scale_sets(kFormat);
  __m512i dots[kWideBlocks][kTokens];
  if (kTokens <= kMostBoth && set.high == kAllBits<kFormat>) {
    both_planes<kFormat, kTokens>(tile, set, stride, dots);
  } else {
    start_dots<kFormat, kTokens>(tile, set, stride, dots);
    const std::int8_t* low = set.codes + kGroup;
    add_plane<kFormat, kTokens>(tile, set.lines, low, stride, dots);
  }
#pragma GCC unroll 2
  for (int b = 0; b < kWideBlocks; ++b) {
    const std::byte* own = set.halves + b * tile.next;
    const __m512 scale = load_halves(own);
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      const __m512 factor =
          _mm512_mul_ps(scale, _mm512_set1_ps(set.scales[t * tile.groups]));
      y[b][t] =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[b][t]), factor, y[b][t]);
    }
    if (kSets > 1 || tile.block.biases) {
      const __m512 bias = load_bias(tile.block, own, scale);
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
        y[b][t] = _mm512_fmadd_ps(
            bias,
            _mm512_set1_ps(set.sums[t * tile.groups * kSets]),
            y[b][t]);
      }
    }
  }
}

/// The bits of QuantizedRows::high for the columns of a set.
template <PackedFormat kFormat>
constexpr unsigned high_bits(unsigned group, int set) {
  constexpr int kBits = kGroup / 4 / scale_sets(kFormat);
  return group >> (kBits * set) & ((1u << kBits) - 1);
}

inline void prefetch_later(const std::byte* at) {
  _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
}

template <PackedFormat kFormat, int kTokens>
void wide_tile(const WideTile& tile, const QuantizedRows& x, int token) {
  constexpr int kSets = scale_sets(kFormat);
  const std::ptrdiff_t stride = std::ptrdiff_t{kPlanes} * x.cols;
  const std::ptrdiff_t groups = tile.groups;
  const std::int8_t* codes = x.codes + token * stride;
  const std::int32_t* starts =
      tile.starts + (token - tile.first_token) * groups;
  const float* scales = x.scales + token * groups;
  const float* sums =
      (kSets == 1 ? x.sums : x.half_sums) + token * groups * kSets;
  __m512 y[kWideBlocks][kTokens];
#pragma GCC unroll 2
  for (int b = 0; b < kWideBlocks; ++b) {
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      y[b][t] = _mm512_setzero_ps();
    }
  }
  int ahead = tile.ahead;
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g);
    if (g == ahead) {
      ahead += tile.ahead_step;
      const std::byte* after = stream + kWideBlocks * tile.next;
      for (int i = 0; i < code_bytes(kFormat); i += 64) {
        prefetch_later(after + i);
        prefetch_later(after + tile.next + i);
      }
      const std::byte* scales_after =
          tile.block.unit(g) + kWideBlocks * tile.next;
      prefetch_later(scales_after);
      prefetch_later(scales_after + tile.next);
    }
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      const WideSet own{
          stream + set * (code_bytes(kFormat) / kSets),
          tile.block.scales(g, set),
          codes + set * (kGroup / kSets),
          high_bits<kFormat>(tile.high[g], set),
          starts,
          scales,
          sums + set};
      add_set<kFormat, kTokens>(tile, own, stride, y);
    }
    codes += kPlanes * kGroup;
    ++starts;
    ++scales;
    sums += kSets;
  }
  const __m512 unit = _mm512_set1_ps(tile.unit);
#pragma GCC unroll 2
  for (int b = 0; b < kWideBlocks; ++b) {
    const auto rows =
        static_cast<__mmask16>(b + 1 < kWideBlocks ? 0xffff : tile.last_rows);
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      _mm512_mask_storeu_ps(
          tile.y + (token + t) * tile.ldy + b * kRowBlock,
          rows,
          _mm512_mul_ps(y[b][t], unit));
    }
  }
}

}  // namespace

}  // namespace roofline
