// A product's tile on AVX2: a row block, whose 16 rows are two registers, times
// a few tokens. Both planes of a token's codes are one number of 16 bits, and
// values become 16 bits in registers, so that vpmaddwd adds two columns'
// products in 32 bits, exactly: half of what the planes take by themselves in
// 8 bits. Calculates what one_token_avx2.h does, bit for bit. Included by
// qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/qmm.h"
#include "roofline/kernels/qmm/tile_sums_avx2.h"

namespace roofline {

namespace {

/// Tokens whose sums leave registers for the rest.
constexpr int kMostWordTokens = 4;
constexpr int kHalfLine = 32;  ///< bytes of a half's rows in a line

struct WordTile {
  BlockGroups block;
  int groups;
  float unit;
  __m256i table;               ///< 16 bytes, twice
  bool ahead;                  ///< ask for the stream
  const std::int16_t* words;   ///< [tokens, cols], as TokenCodes::words
  std::ptrdiff_t stride;       ///< cols
  const std::int32_t* starts;  ///< [tokens, sets]
  const float* scales;         ///< [tokens, groups]
  const float* sums;           ///< [tokens, sets]; read with biases
  __m256i rows[kHalves];       ///< which of a half's 8 exist
  float* y;
  std::ptrdiff_t ldy;
};

/// Values of two columns a row, in 16 bits: of a line's columns 0 and 2, 1 and
/// 3 and in 4 bits 4 and 6, 5 and 7.
template <PackedFormat kFormat, int kPart>
inline __m256i word_values(const std::byte* from, __m256i table) {
  __m256i line = load_line(from);
  if constexpr (has_table(kFormat)) {
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    line = _mm256_shuffle_epi8(
        table,
        _mm256_and_si256(
            kPart < 2 ? line : _mm256_srli_epi16(line, 4),
            nibble));
  }
  if constexpr (kFormat == PackedFormat::q4) {
    if constexpr (kPart == 3) {
      return _mm256_srli_epi16(line, 12);
    }
    constexpr int kShift = kPart == 0 ? 0 : kPart == 1 ? 8 : 4;
    return _mm256_and_si256(
        _mm256_srli_epi16(line, kShift),
        _mm256_set1_epi16(0x0f));
  } else if constexpr (kPart % 2 == 0) {
    return _mm256_and_si256(line, _mm256_set1_epi16(0xff));
  } else {
    return _mm256_srli_epi16(line, 8);
  }
}

/// dots[half][token] += values · x of two columns of a line.
template <PackedFormat kFormat, int kPart, int kTokens>
inline void add_words(
    const std::byte* line,
    __m256i table,
    const std::int16_t* words,
    std::ptrdiff_t stride,
    __m256i (*dots)[kTokens]) {
  const __m256i first = word_values<kFormat, kPart>(line, table);
  const __m256i second = word_values<kFormat, kPart>(line + kHalfLine, table);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m256i two = broadcast4(
        reinterpret_cast<const std::int8_t*>(words + t * stride + 2 * kPart));
    dots[0][t] = _mm256_add_epi32(dots[0][t], _mm256_madd_epi16(first, two));
    dots[1][t] = _mm256_add_epi32(dots[1][t], _mm256_madd_epi16(second, two));
    // In turn: gcc would gather all products first and spill them.
    __asm__ volatile("" : "+x"(dots[0][t]), "+x"(dots[1][t]));
  }
}

/// The same of all columns of a set.
template <PackedFormat kFormat, int kTokens>
inline void add_word_lines(
    const std::byte* lines,
    __m256i table,
    const std::int16_t* words,
    std::ptrdiff_t stride,
    __m256i (*dots)[kTokens]) {
  constexpr int kLineCols = has_nibbles(kFormat) ? 8 : 4;
  constexpr int kLines = kGroup / scale_sets(kFormat) / kLineCols;
#pragma GCC unroll 8
  for (int i = 0; i < kLines; ++i) {
    const std::byte* line = lines + 64 * i;
    const std::int16_t* at = words + kLineCols * i;
    add_words<kFormat, 0, kTokens>(line, table, at, stride, dots);
    add_words<kFormat, 1, kTokens>(line, table, at, stride, dots);
    if constexpr (has_nibbles(kFormat)) {
      add_words<kFormat, 2, kTokens>(line, table, at, stride, dots);
      add_words<kFormat, 3, kTokens>(line, table, at, stride, dots);
    }
  }
}

template <PackedFormat kFormat, int kTokens, bool BIASES>
[[gnu::noinline]] void word_tile(const WordTile& tile) {
  constexpr int kSets = scale_sets(kFormat);
  // In memory: registers are for the integer sums.
  alignas(32) float y[kTokens][kRowBlock];
  clear_sums<kTokens>(y);
  const std::ptrdiff_t groups = tile.groups;
  const std::ptrdiff_t stride = tile.stride;
  const __m256i table = tile.table;
  const std::int16_t* words = tile.words;
  const std::int32_t* starts = tile.starts;
  const float* scales = tile.scales;
  const float* sums = tile.sums;
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
        dots[0][t] = kFormat == PackedFormat::q4
                         ? _mm256_setzero_si256()
                         : _mm256_set1_epi32(starts[t * groups * kSets]);
        dots[1][t] = dots[0][t];
      }
      add_word_lines<kFormat, kTokens>(
          stream + set * (code_bytes(kFormat) / kSets),
          table,
          words,
          stride,
          dots);
      const std::byte* own = tile.block.scales(g, set);
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        const std::byte* at = own + kSetScales / kHalves * h;
        const __m256 scale = load_halves(at);
        __m256 bias = _mm256_setzero_ps();
        if constexpr (BIASES) {
          bias = load_bias(tile.block, at, scale);
          if constexpr (kFormat != PackedFormat::q4) {
            bias = _mm256_fmadd_ps(scale, _mm256_set1_ps(kSignOffset), bias);
          }
        }
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          float* to = y[t] + kHalf * h;
          __m256 total = _mm256_fmadd_ps(
              _mm256_cvtepi32_ps(dots[h][t]),
              _mm256_mul_ps(scale, _mm256_set1_ps(scales[t * groups])),
              _mm256_load_ps(to));
          if constexpr (BIASES) {
            total = _mm256_fmadd_ps(
                bias,
                _mm256_set1_ps(sums[t * groups * kSets]),
                total);
          }
          _mm256_store_ps(to, total);
        }
      }
      stay_in_memory(y);
      words += kGroup / kSets;
      ++starts;
      ++sums;
    }
    ++scales;
  }
  write_sums<kTokens>(tile, y, [&](int) { return tile.unit; });
}

}  // namespace

}  // namespace roofline
