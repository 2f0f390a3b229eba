// Tiles of products with trimmed rows on AVX2 whose 16-bit sums hold half of a
// group's columns (ByteSums::halves): a row block as bytes and floats times up
// to four tokens. Each half of a group has its own scales, and what its sums
// start with makes values count from the center.
// Included by byte_product_avx2.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/byte_block_avx2.h"
#include "roofline/kernels/qmm/tile_sums_avx2.h"
#include "roofline/kernels/qmm/unpacked_tile_avx2.h"

namespace roofline {

namespace {

/// Tokens of a tile. Four leave the loads of a row block's lines the least.
constexpr int kMostByteTokens = 4;
/// Sets of scales in a group.
constexpr int kByteSets = 2;

/// Four columns of a token that have high codes.
struct ByteOutlier {
  std::int32_t codes;  ///< four of them
  std::int32_t start;  ///< twice 16 bits, as ByteTile::starts
  float factor;        ///< 128 times the token's k
  unsigned line;       ///< of the row block's, from its first group on
  unsigned token;      ///< in the tile
};

struct ByteTile {
  UnpackedBlock block;
  int groups;
  /// The first token's low codes, and bytes from a token to the next.
  const std::int8_t* codes;
  std::ptrdiff_t stride;
  /// [tokens, groups, 2] twice 16 bits, minus the center times the
  /// codes of a lane's columns; [tokens, groups] twice 16 bits, k.
  const std::int32_t* starts;
  const std::int32_t* factors;
  const float* sums;    ///< [tokens, groups, sets]: Σ xc·k; read with biases
  const float* quanta;  ///< [tokens]: times the matrix's unit
  const ByteOutlier* outliers;
  const ByteOutlier* outliers_end;
  __m256i rows[kHalves];  ///< which of a half's 8 exist
  float* y;
  std::ptrdiff_t ldy;
};

inline __m256i load_bytes(const std::uint8_t* from) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
}

/// y += what the high codes of the tile's tokens give.
inline void add_byte_outliers(const ByteTile& tile, float* y) {
  const __m256i one = _mm256_set1_epi16(1);
  for (const ByteOutlier* at = tile.outliers; at != tile.outliers_end; ++at) {
    const std::uint8_t* codes = tile.block.codes + std::size_t{64} * at->line;
    const float* scales =
        tile.block.scales +
        std::size_t{kRowBlock} * (at->line * kByteSets / kQuads);
    float* sums = y + kRowBlock * at->token;
    const __m256i four = broadcast_int(at->codes);
    const __m256 factor = _mm256_set1_ps(at->factor);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const __m256i w = load_bytes(codes + 32 * h);
      const __m256i pairs = _mm256_add_epi16(
          broadcast_int(at->start),
          _mm256_maddubs_epi16(w, four));
      const __m256 scale =
          _mm256_mul_ps(_mm256_load_ps(scales + kHalf * h), factor);
      _mm256_store_ps(
          sums + kHalf * h,
          _mm256_fmadd_ps(
              _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, one)),
              scale,
              _mm256_load_ps(sums + kHalf * h)));
    }
  }
}

/// to[8] += sums·scale, and bias·sum where there are biases.
template <bool BIASES>
inline void add_scaled(
    __m256 sums,
    __m256 scale,
    const float* biases,
    const float* sum,
    float* to) {
  __m256 y = _mm256_fmadd_ps(sums, scale, _mm256_load_ps(to));
  if constexpr (BIASES) {
    y = _mm256_fmadd_ps(_mm256_load_ps(biases), _mm256_set1_ps(*sum), y);
  }
  _mm256_store_ps(to, y);
}

template <int kTokens, bool BIASES>
void halves_tile(const ByteTile& tile) {
  alignas(32) float y[kTokens][kRowBlock];
  clear_sums<kTokens>(y);
  const std::ptrdiff_t stride = tile.stride;
  const std::ptrdiff_t groups = tile.groups;
  const std::uint8_t* w = tile.block.codes;
  const float* scales = tile.block.scales;
  const float* biases = tile.block.biases;
  const std::int8_t* codes = tile.codes;
  const std::int32_t* starts = tile.starts;
  const std::int32_t* factors = tile.factors;
  const float* sums = tile.sums;
  for (int g = 0; g < tile.groups; ++g) {
#pragma GCC unroll 2
    for (int set = 0; set < kByteSets; ++set) {
      __m256i pairs[kHalves][kTokens];
#pragma GCC unroll 4
      for (int i = 0; i < kQuads / kByteSets; ++i) {
        const __m256i first = load_bytes(w + 64 * i);
        const __m256i second = load_bytes(w + 64 * i + 32);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          const __m256i four = broadcast4(codes + t * stride + 4 * i);
          const __m256i a = _mm256_maddubs_epi16(first, four);
          const __m256i b = _mm256_maddubs_epi16(second, four);
          pairs[0][t] = i == 0 ? a : _mm256_add_epi16(pairs[0][t], a);
          pairs[1][t] = i == 0 ? b : _mm256_add_epi16(pairs[1][t], b);
          // Line by line: gcc would gather all products first and spill them.
          __asm__ volatile("" : "+x"(pairs[0][t]), "+x"(pairs[1][t]));
        }
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256i start =
            broadcast_int(starts[kByteSets * t * groups + set]);
#pragma GCC unroll 2
        for (int h = 0; h < kHalves; ++h) {
          add_scaled<BIASES>(
              scaled_sums(
                  _mm256_add_epi16(pairs[h][t], start),
                  factors[t * groups]),
              _mm256_load_ps(scales + kHalf * h),
              biases + kHalf * h,
              sums + kByteSets * t * groups + set,
              y[t] + kHalf * h);
        }
      }
      stay_in_memory(y);
      w += kUnpackedCodes / kByteSets;
      scales += kRowBlock;
      biases += BIASES ? kRowBlock : 0;
      codes += kGroup / kByteSets;
    }
    codes += kGroup;  // the next group's high ones
    starts += kByteSets;
    sums += BIASES ? kByteSets : 0;
    ++factors;
  }
  add_byte_outliers(tile, y[0]);
  write_sums<kTokens>(tile, y, [&](int t) { return tile.quanta[t]; });
}

}  // namespace

}  // namespace roofline
