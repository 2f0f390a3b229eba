// A tile of q4 products with trimmed rows and an offset in the middle of the
// codes, on AVX2: a row block times up to four tokens. Two groups of columns
// at a time, each of which sums in one of the two 16-bit halves of a register's
// 32-bit lanes, so that one vpmaddwd scales and adds both:
//   y[t,r] = quantum[t] · unit[r] · Σ_pairs f1·S1 + f2·S2,
//   S = Σ_c (wc − offset)·xc,  f = ws·k / 2^15 to the nearest (vpmulhrsw)
// where ws are whole numbers of unit[r] and k of quantum[t], 15 bits each: a
// pair takes 4 instructions beside its products where two groups with float
// scales take 6, two of which need the operand port of another.
// Included by pair_product_avx2.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

namespace {

/// Tokens of a tile, whose sums take two registers each.
constexpr int kMostPairTokens = 4;

constexpr int kPairGroups = 2;
constexpr int kPairCols = kPairGroups * kGroup;
/// Lines of a pair: two columns of each group, in 16 rows.
constexpr int kPairLines = kPairCols / 4;
constexpr int kPairCodes = kRowBlock * kPairCols;
constexpr int kPairScales = kRowBlock * kPairGroups;

/// What a tile needs of a token's pair of groups, 16 bits each.
struct TokenPair {
  std::int32_t start;   ///< what the sums start with: minus the offset times
                        ///< Σ xc
  std::int32_t factor;  ///< k
};

/// Pairs of a tile at most: their codes in a row block take 16 KB.
constexpr int kPairsAtATime = 16;

/// What is more than a code of 8 bits in two columns of a token; the line's
/// others are zero. It is added to what the pair's sums start with.
struct PairExcess {
  std::int32_t codes;
  unsigned line;  ///< of the row block's part, from its first pair on
};

/// High codes of two columns of a token, likewise; for what is too much for
/// sums in 16 bits.
struct PairOutlier {
  std::int32_t codes;
  std::int32_t start;
  unsigned line;
};

/// What the sums of a token's pairs start with.
struct PairStarts {
  alignas(32) std::int16_t pairs[kPairsAtATime][kHalves][kRowBlock];
};

/// A token's outliers in some pairs.
struct TokenOutliers {
  std::span<const PairExcess> excess;
  std::span<const PairOutlier> large;
};

/// Some pairs of a row block and of a tile's tokens.
struct PairTile {
  const std::uint8_t* w;       ///< [pairs, 16 lines, 16 rows, 4]
  const std::int16_t* scales;  ///< [pairs, 16 rows, 2]
  int pairs;
  const std::int8_t* codes;  ///< [tokens, stride] from [pairs, 16 lines, 4]
  std::ptrdiff_t stride;
  const TokenPair* parts;  ///< [tokens, part_stride]
  std::ptrdiff_t part_stride;
  TokenOutliers outliers[kMostPairTokens];
  float* sums;  ///< [tokens, 16]: what the pairs are added to
};

inline __m256i broadcast_pair(const std::int32_t& value) {
  return _mm256_set1_epi32(value);
}

inline __m256i load_half(const void* from) {
  return _mm256_load_si256(static_cast<const __m256i*>(from));
}

/// Both groups' sums times ws·k.
inline __m256 scaled_pair(
    __m256i sums,
    const std::int16_t* scales,
    __m256i factor) {
  const __m256i f = _mm256_mulhrs_epi16(factor, load_half(scales));
  return _mm256_cvtepi32_ps(_mm256_madd_epi16(sums, f));
}

/// sums += what large outliers give.
inline void add_large(
    const PairTile& tile,
    const TokenPair* parts,
    std::span<const PairOutlier> outliers,
    float* sums) {
  const __m256 unit = _mm256_set1_ps(kHighUnit);
  for (const PairOutlier& each : outliers) {
    const std::uint8_t* w = tile.w + std::size_t{64} * each.line;
    const unsigned pair = each.line / kPairLines;
    const std::int16_t* scales = tile.scales + std::size_t{kPairScales} * pair;
    const __m256i codes = broadcast_pair(each.codes);
    const __m256i start = broadcast_pair(each.start);
    const __m256i factor = broadcast_pair(parts[pair].factor);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const __m256i pairs = _mm256_add_epi16(
          start,
          _mm256_maddubs_epi16(load_half(w + 32 * h), codes));
      float* to = sums + kHalf * h;
      _mm256_store_ps(
          to,
          _mm256_fmadd_ps(
              scaled_pair(pairs, scales + kRowBlock * h, factor),
              unit,
              _mm256_load_ps(to)));
    }
  }
}

/// What a token's sums start with, small outliers among it.
inline void fill_starts(
    const PairTile& tile,
    const TokenPair* parts,
    std::span<const PairExcess> excess,
    PairStarts& starts) {
  for (int pair = 0; pair < tile.pairs; ++pair) {
    const __m256i start = broadcast_pair(parts[pair].start);
    auto* to = reinterpret_cast<__m256i*>(starts.pairs[pair]);
    _mm256_store_si256(to, start);
    _mm256_store_si256(to + 1, start);
  }
  for (const PairExcess& each : excess) {
    const std::uint8_t* w = tile.w + std::size_t{64} * each.line;
    auto* to = reinterpret_cast<__m256i*>(starts.pairs[each.line / kPairLines]);
    const __m256i codes = broadcast_pair(each.codes);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      _mm256_store_si256(
          to + h,
          _mm256_add_epi16(
              _mm256_load_si256(to + h),
              _mm256_maddubs_epi16(load_half(w + 32 * h), codes)));
    }
  }
}

template <int kTokens>
void pair_tile(const PairTile& tile) {
  PairStarts starts[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    const TokenOutliers& own = tile.outliers[t];
    const TokenPair* own_parts = tile.parts + t * tile.part_stride;
    add_large(tile, own_parts, own.large, tile.sums + kRowBlock * t);
    fill_starts(tile, own_parts, own.excess, starts[t]);
  }
  const std::ptrdiff_t stride = tile.stride;
  const std::ptrdiff_t part_stride = tile.part_stride;
  const std::uint8_t* w = tile.w;
  const std::int16_t* scales = tile.scales;
  const std::int8_t* codes = tile.codes;
  const TokenPair* parts = tile.parts;
  float* y = tile.sums;
  for (int pair = 0; pair < tile.pairs; ++pair) {
    __m256i sums[kHalves][kTokens];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      sums[0][t] = load_half(starts[t].pairs[pair][0]);
      sums[1][t] = load_half(starts[t].pairs[pair][1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kPairLines; ++i) {
      const __m256i first = load_half(w + 64 * i);
      const __m256i second = load_half(w + 64 * i + 32);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256i four = broadcast4(codes + t * stride + 4 * i);
        sums[0][t] =
            _mm256_add_epi16(sums[0][t], _mm256_maddubs_epi16(first, four));
        sums[1][t] =
            _mm256_add_epi16(sums[1][t], _mm256_maddubs_epi16(second, four));
        // Line by line: gcc would gather all products first and spill them.
        __asm__ volatile("" : "+x"(sums[0][t]), "+x"(sums[1][t]));
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m256i factor = broadcast_pair(parts[t * part_stride].factor);
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        float* to = y + kRowBlock * t + kHalf * h;
        _mm256_store_ps(
            to,
            _mm256_add_ps(
                scaled_pair(sums[h][t], scales + kRowBlock * h, factor),
                _mm256_load_ps(to)));
      }
    }
    w += kPairCodes;
    scales += kPairScales;
    codes += kPairCols;
    ++parts;
  }
}

}  // namespace

}  // namespace roofline
