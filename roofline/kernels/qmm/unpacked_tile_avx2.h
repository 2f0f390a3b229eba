// A tile of q4 products with trimmed rows on AVX2: a row block, whose codes are
// bytes and whose scales are floats already, times up to four tokens. A token's
// scales are whole numbers of one quantum (trim_avx2.h), so that vpmaddwd,
// which widens a group's sums, multiplies by them too:
//   y[t,r] = quantum[t] · Σ_g ws[r,g]·(k[t,g]·Σ_c (wc − offset)·xc).
// 10 instructions a group and register of rows go through the two ports that
// multiply where float scales and biases take 12: 8 vpmaddubsw, and 2 instead
// of 4 others. Included by unpacked_product_avx2.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/qmm.h"
#include "roofline/kernels/qmm/tile_sums_avx2.h"

namespace roofline {

namespace {

/// Tokens of a tile, whose sums take two registers each; the sums of four
/// leave just enough for the rest, those of three leave the ports less to wait
/// for.
constexpr int kBestTokens = 3;
constexpr int kMostTileTokens = 4;

constexpr int kQuads = kGroup / 4;
/// Bytes of a group's codes in a row block.
constexpr int kUnpackedCodes = kRowBlock * kGroup;

/// A row block: codes [groups, 8, 16 rows, 4 columns], scales and, where there
/// is no offset, biases [groups, 16].
struct UnpackedBlock {
  const std::uint8_t* codes;
  const float* scales;
  const float* biases;  ///< nullptr: an offset is part of TokenGroup::start
};

/// What a tile needs of a token's group.
struct TokenGroup {
  std::int32_t start;   ///< twice 16 bits, what the sums start with: minus the
                        ///< offset times the codes of their columns
  std::int32_t factor;  ///< twice 16 bits, k
};

/// Four columns of a token that have high codes.
struct Outlier {
  std::int32_t codes;  ///< four of them
  TokenGroup own;
  unsigned line;   ///< of the row block's, from its first group on
  unsigned token;  ///< in the tile
};

struct UnpackedTile {
  UnpackedBlock block;
  int groups;
  /// The first token's low codes, and bytes from a token to the next.
  const std::int8_t* codes;
  std::ptrdiff_t stride;
  const TokenGroup* parts;  ///< [tokens, groups]
  const float* sums;        ///< [tokens, groups]: Σ xc·k; read with biases
  const float* quanta;      ///< [tokens]: times the matrix's unit
  const Outlier* outliers;
  const Outlier* outliers_end;
  __m256i rows[kHalves];  ///< which of a half's 8 exist
  float* y;
  std::ptrdiff_t ldy;
};

inline __m256i broadcast_int(const std::int32_t& value) {
  return _mm256_set1_epi32(value);
}

/// 16-bit sums times k, as floats.
inline __m256 scaled_sums(__m256i pairs, std::int32_t factor) {
  return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, broadcast_int(factor)));
}

/// y += what the high codes of the tile's tokens give.
inline void add_outliers(const UnpackedTile& tile, float* y) {
  const __m256 unit = _mm256_set1_ps(kHighUnit);
  for (const Outlier* at = tile.outliers; at != tile.outliers_end; ++at) {
    const std::uint8_t* codes = tile.block.codes + std::size_t{64} * at->line;
    const float* scales =
        tile.block.scales + std::size_t{kRowBlock} * (at->line / kQuads);
    float* sums = y + kRowBlock * at->token;
    const __m256i four = broadcast_int(at->codes);
    const __m256i start = broadcast_int(at->own.start);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const __m256i w =
          _mm256_load_si256(reinterpret_cast<const __m256i*>(codes + 32 * h));
      const __m256 scale =
          _mm256_mul_ps(_mm256_load_ps(scales + kHalf * h), unit);
      const __m256i pairs =
          _mm256_add_epi16(start, _mm256_maddubs_epi16(w, four));
      _mm256_store_ps(
          sums + kHalf * h,
          _mm256_fmadd_ps(
              scaled_sums(pairs, at->own.factor),
              scale,
              _mm256_load_ps(sums + kHalf * h)));
    }
  }
}

template <int kTokens, bool BIASES>
void unpacked_tile(const UnpackedTile& tile) {
  // In memory: registers are for the integer sums.
  alignas(32) float y[kTokens][kRowBlock];
  clear_sums<kTokens>(y);
  const std::ptrdiff_t stride = tile.stride;
  const std::ptrdiff_t groups = tile.groups;
  const std::uint8_t* w = tile.block.codes;
  const float* scales = tile.block.scales;
  const float* biases = tile.block.biases;
  const std::int8_t* codes = tile.codes;
  const TokenGroup* parts = tile.parts;
  const float* sums = tile.sums;
  for (int g = 0; g < tile.groups; ++g) {
    __m256i pairs[kHalves][kTokens];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      pairs[0][t] = broadcast_int(parts[t * groups].start);
      pairs[1][t] = pairs[0][t];
    }
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) {
      const auto* line = reinterpret_cast<const __m256i*>(w + 64 * i);
      const __m256i first = _mm256_load_si256(line);
      const __m256i second = _mm256_load_si256(line + 1);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256i four = broadcast4(codes + t * stride + 4 * i);
        pairs[0][t] =
            _mm256_add_epi16(pairs[0][t], _mm256_maddubs_epi16(first, four));
        pairs[1][t] =
            _mm256_add_epi16(pairs[1][t], _mm256_maddubs_epi16(second, four));
        // Line by line: gcc would gather all products first and spill them.
        __asm__ volatile("" : "+x"(pairs[0][t]), "+x"(pairs[1][t]));
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const std::int32_t factor = parts[t * groups].factor;
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        float* to = y[t] + kHalf * h;
        __m256 sum = _mm256_fmadd_ps(
            scaled_sums(pairs[h][t], factor),
            _mm256_load_ps(scales + kHalf * h),
            _mm256_load_ps(to));
        if constexpr (BIASES) {
          sum = _mm256_fmadd_ps(
              _mm256_load_ps(biases + kHalf * h),
              _mm256_set1_ps(sums[t * groups]),
              sum);
        }
        _mm256_store_ps(to, sum);
      }
    }
    // y stays in memory.
    __asm__ volatile("" : : "r"(y) : "memory");
    w += kUnpackedCodes;
    scales += kRowBlock;
    if constexpr (BIASES) {
      biases += kRowBlock;
      ++sums;
    }
    codes += kPlanes * kGroup;
    ++parts;
  }
  add_outliers(tile, y[0]);
  write_sums<kTokens>(tile, y, [&](int t) { return tile.quanta[t]; });
}

}  // namespace

}  // namespace roofline
