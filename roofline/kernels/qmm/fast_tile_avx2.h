// A product's tile on AVX2: a row block, whose 16 rows are two registers, times
// a few tokens, both planes of them. vpmaddubsw adds two products of codes in
// 16 bits:
//   q4      codes up to 15 times 127, so a whole group's eight pairs still fit
//           (30,480) and are widened once;
//   others  values less 128 become signed; |w| times sign(x, w) gives at most
//           32,512, so each pair is widened at once, and the bias takes the
//           128 back.
// Included by qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

namespace {

constexpr int kHalfLine = 32;   ///< bytes of a half's rows in a line
constexpr int kMostTokens = 2;  ///< measured: 3 and 4 spill and gain nothing

struct BlockTile {
  BlockGroups block;
  int groups;
  float unit;
  __m256i table;          ///< 16 bytes, twice
  __m256i rows[kHalves];  ///< which of a half's 8 exist
  bool ahead;             ///< ask for the stream
  float* y;
  std::ptrdiff_t ldy;
};

/// dots[half][token] += factor · Σ (w − 128)·x over four columns, in q4 factor
/// · Σ w·x; values: in bytes, of each half of the row block.
template <PackedFormat kFormat, int kTokens>
inline void add_columns(
    const __m256i* values,
    const std::int8_t* x,
    std::ptrdiff_t stride,
    __m256i factor,
    __m256i (*dots)[kTokens]) {
  const SignedValues<kFormat> w[kHalves] = {
      SignedValues<kFormat>(values[0]),
      SignedValues<kFormat>(values[1])};
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m256i four = broadcast4(x + t * stride);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      dots[h][t] = _mm256_add_epi32(
          dots[h][t],
          _mm256_madd_epi16(w[h].times(four), factor));
    }
  }
}

/// As below for q4, whose sums of a whole group fit in 16 bits.
template <int kTokens>
inline void add_nibbles(
    const std::byte* stream,
    const std::int8_t* x,
    std::ptrdiff_t stride,
    __m256i factor,
    __m256i (*dots)[kTokens]) {
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  __m256i pairs[kHalves][kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    pairs[0][t] = _mm256_setzero_si256();
    pairs[1][t] = _mm256_setzero_si256();
  }
#pragma GCC unroll 4
  for (int i = 0; i < kGroup / 8; ++i) {
    __m256i low[kHalves];
    __m256i high[kHalves];
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const __m256i line = load_line(stream + 64 * i + kHalfLine * h);
      low[h] = _mm256_and_si256(line, nibble);
      high[h] = _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const std::int8_t* at = x + t * stride + 8 * i;
      const __m256i first = broadcast4(at);
      const __m256i second = broadcast4(at + 4);
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        const __m256i a = _mm256_maddubs_epi16(low[h], first);
        const __m256i b = _mm256_maddubs_epi16(high[h], second);
        pairs[h][t] = _mm256_add_epi16(pairs[h][t], _mm256_add_epi16(a, b));
        // Line by line: gcc would gather all products first and spill them.
        __asm__ volatile("" : "+x"(pairs[h][t]));
      }
    }
  }
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      dots[h][t] =
          _mm256_add_epi32(dots[h][t], _mm256_madd_epi16(pairs[h][t], factor));
    }
  }
}

/// dots += factor · Σ values·x over a group's columns, or over those of one set
/// of scales, for each of 16 rows and kTokens tokens; x: one plane of the first
/// token's codes of these columns. stream: where they begin.
template <PackedFormat kFormat, int kTokens>
inline void add_dots(
    const std::byte* stream,
    __m256i table,
    const std::int8_t* x,
    std::ptrdiff_t stride,
    __m256i factor,
    __m256i (*dots)[kTokens]) {
  constexpr int kCols = kGroup / scale_sets(kFormat);
  if constexpr (kFormat == PackedFormat::q4) {
    add_nibbles<kTokens>(stream, x, stride, factor, dots);
  } else {
    constexpr bool kNibbles = has_nibbles(kFormat);
    constexpr int kLineCols = kNibbles ? 8 : 4;
#pragma GCC unroll 1
    for (int i = 0; i < kCols / kLineCols; ++i) {
      const LineValues<kFormat> first(stream + 64 * i, table);
      const LineValues<kFormat> second(stream + 64 * i + kHalfLine, table);
      const std::int8_t* at = x + kLineCols * i;
      const __m256i low[kHalves] = {first.low, second.low};
      add_columns<kFormat, kTokens>(low, at, stride, factor, dots);
      if constexpr (kNibbles) {
        const __m256i high[kHalves] = {first.high, second.high};
        add_columns<kFormat, kTokens>(high, at + 4, stride, factor, dots);
      }
    }
  }
}

template <PackedFormat kFormat, int kTokens>
void fast_tile(const BlockTile& tile, const QuantizedRows& x, int token) {
  const __m256i high_unit = _mm256_set1_epi16(kHighUnit);
  const __m256i one = _mm256_set1_epi16(1);
  const std::ptrdiff_t stride = std::ptrdiff_t{kPlanes} * x.cols;
  const std::ptrdiff_t groups = tile.groups;
  const std::int8_t* codes = x.codes + token * stride;
  const float* scales = x.scales + token * groups;
  constexpr int kSets = scale_sets(kFormat);
  constexpr int kSetCols = kGroup / kSets;
  const float* sums =
      (kSets == 1 ? x.sums : x.half_sums) + token * groups * kSets;
  __m256 y[kHalves][kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    y[0][t] = _mm256_setzero_ps();
    y[1][t] = _mm256_setzero_ps();
  }
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g);
    if (tile.ahead) {
      ask_ahead<kFormat>(tile.block, stream, g);
    }
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      __m256i dots[kHalves][kTokens];
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        dots[0][t] = _mm256_setzero_si256();
        dots[1][t] = _mm256_setzero_si256();
      }
      const std::byte* lines = stream + set * (code_bytes(kFormat) / kSets);
      const std::int8_t* plane = codes + set * kSetCols;
      add_dots<kFormat, kTokens>(
          lines,
          tile.table,
          plane,
          stride,
          high_unit,
          dots);
      add_dots<kFormat, kTokens>(
          lines,
          tile.table,
          plane + kGroup,
          stride,
          one,
          dots);
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        const std::byte* own =
            tile.block.scales(g, set) + kSetScales / kHalves * h;
        const __m256 scale = load_halves(own);
        __m256 bias = load_bias(tile.block, own, scale);
        if constexpr (kFormat != PackedFormat::q4) {
          bias = _mm256_fmadd_ps(scale, _mm256_set1_ps(128.0f), bias);
        }
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          const __m256 factor =
              _mm256_mul_ps(scale, _mm256_set1_ps(scales[t * groups]));
          y[h][t] =
              _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[h][t]), factor, y[h][t]);
          y[h][t] = _mm256_fmadd_ps(
              bias,
              _mm256_set1_ps(sums[t * groups * kSets + set]),
              y[h][t]);
        }
      }
    }
    codes += kPlanes * kGroup;
    ++scales;
    sums += kSets;
  }
  const __m256 unit = _mm256_set1_ps(tile.unit);
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      _mm256_maskstore_ps(
          tile.y + (token + t) * tile.ldy + kHalf * h,
          tile.rows[h],
          _mm256_mul_ps(y[h][t], unit));
    }
  }
}

}  // namespace

}  // namespace roofline
