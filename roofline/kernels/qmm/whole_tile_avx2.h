// A tile of q4 products with rows that aren't trimmed, both planes of them, on
// AVX2: an unpacked row block times one or two tokens. Calculates what
// one_token_avx2.h does, bit for bit. Included by unpacked_product_avx2.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/unpacked_tile_avx2.h"

namespace roofline {

namespace {

/// Tokens whose sums of both planes fit into the registers.
constexpr int kMostWholeTokens = 2;

struct WholeTile {
  UnpackedBlock block;  ///< with biases
  int groups;
  const std::int8_t* codes;  ///< the first token's high codes
  std::ptrdiff_t stride;     ///< bytes from a token to the next
  const float* scales;       ///< [tokens, groups]
  const float* sums;         ///< [tokens, groups]
  float unit;
  __m256i rows[kHalves];  ///< which of a half's 8 exist
  float* y;
  std::ptrdiff_t ldy;
};

template <int kTokens>
[[gnu::noinline]] void whole_tile(const WholeTile& tile) {
  constexpr int kRows = kTokens * kPlanes;  // of codes
  alignas(32) float y[kTokens][kRowBlock];
#pragma GCC unroll 2
  for (int t = 0; t < kTokens; ++t) {
    _mm256_store_ps(y[t], _mm256_setzero_ps());
    _mm256_store_ps(y[t] + kHalf, _mm256_setzero_ps());
  }
  const std::ptrdiff_t stride = tile.stride;
  const std::ptrdiff_t groups = tile.groups;
  const std::uint8_t* w = tile.block.codes;
  const float* own_scales = tile.block.scales;
  const float* own_biases = tile.block.biases;
  const std::int8_t* codes = tile.codes;
  const float* scales = tile.scales;
  const float* sums = tile.sums;
  const __m256i high_unit = _mm256_set1_epi16(kHighUnit);
  for (int g = 0; g < tile.groups; ++g) {
    __m256i pairs[kHalves][kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      pairs[0][r] = _mm256_setzero_si256();
      pairs[1][r] = _mm256_setzero_si256();
    }
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) {
      const auto* line = reinterpret_cast<const __m256i*>(w + 64 * i);
      const __m256i first = _mm256_load_si256(line);
      const __m256i second = _mm256_load_si256(line + 1);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const __m256i four = broadcast4(
            codes + r / kPlanes * stride + r % kPlanes * kGroup + 4 * i);
        pairs[0][r] =
            _mm256_add_epi16(pairs[0][r], _mm256_maddubs_epi16(first, four));
        pairs[1][r] =
            _mm256_add_epi16(pairs[1][r], _mm256_maddubs_epi16(second, four));
        // Line by line, as in unpacked_tile().
        __asm__ volatile("" : "+x"(pairs[0][r]), "+x"(pairs[1][r]));
      }
    }
    const __m256i one = _mm256_set1_epi16(1);
#pragma GCC unroll 2
    for (int t = 0; t < kTokens; ++t) {
      const __m256 own = _mm256_set1_ps(scales[t * groups]);
      const __m256 sum = _mm256_set1_ps(sums[t * groups]);
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        const __m256i dots = _mm256_add_epi32(
            _mm256_madd_epi16(pairs[h][kPlanes * t], high_unit),
            _mm256_madd_epi16(pairs[h][kPlanes * t + 1], one));
        float* to = y[t] + kHalf * h;
        const __m256 dotted = _mm256_fmadd_ps(
            _mm256_cvtepi32_ps(dots),
            _mm256_mul_ps(_mm256_load_ps(own_scales + kHalf * h), own),
            _mm256_load_ps(to));
        _mm256_store_ps(
            to,
            _mm256_fmadd_ps(
                _mm256_load_ps(own_biases + kHalf * h),
                sum,
                dotted));
      }
    }
    // y stays in memory.
    __asm__ volatile("" : : "r"(y) : "memory");
    w += kUnpackedCodes;
    own_scales += kRowBlock;
    own_biases += kRowBlock;
    codes += kPlanes * kGroup;
    ++scales;
    ++sums;
  }
  const __m256 unit = _mm256_set1_ps(tile.unit);
#pragma GCC unroll 2
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      _mm256_maskstore_ps(
          tile.y + t * tile.ldy + kHalf * h,
          tile.rows[h],
          _mm256_mul_ps(_mm256_load_ps(y[t] + kHalf * h), unit));
    }
  }
}

}  // namespace

}  // namespace roofline
