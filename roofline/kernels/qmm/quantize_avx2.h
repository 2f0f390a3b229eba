// One group of x in codes, for AVX2. Included by qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

namespace {

inline int reduce_max(__m256i v) {
  __m128i m =
      _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return _mm_cvtsi128_si32(m);
}

inline int reduce_add(__m256i v) {
  __m128i s =
      _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return _mm_cvtsi128_si32(s);
}

/// 32 integers that fit in int8.
inline void store_bytes(const __m256i* n, std::int8_t* to) {
  // The packs work within 128-bit halves: dwords come out as 0 2 4 6 1 3 5 7.
  const __m256i packed = _mm256_packs_epi16(
      _mm256_packs_epi32(n[0], n[1]),
      _mm256_packs_epi32(n[2], n[3]));
  _mm256_storeu_si256(
      reinterpret_cast<__m256i*>(to),
      _mm256_permutevar8x32_epi32(
          packed,
          _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
}

/// A group's codes as its two planes; n is lost.
inline void store_planes(__m256i* n, std::int8_t* codes) {
  const __m256i half = _mm256_set1_epi32(kHighUnit / 2);
  __m256i high[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    high[i] = _mm256_srai_epi32(_mm256_add_epi32(n[i], half), 7);
    n[i] = _mm256_sub_epi32(n[i], _mm256_slli_epi32(high[i], 7));
  }
  store_bytes(high, codes);
  store_bytes(n, codes + kGroup);
}

/// sums: of the codes of each half.
void quantize_group(
    const float* x,
    std::int8_t* codes,
    float& scale,
    std::array<std::int32_t, 2>& sums) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256 v[4];
  __m256i most_bits = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    // Compared as integers, a NaN is the largest and isn't lost.
    most_bits = _mm256_max_epi32(
        most_bits,
        _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
  }
  const int bits = reduce_max(most_bits);
  float most = 0;
  std::memcpy(&most, &bits, sizeof(most));
  const bool zero = most < kZeroGroup;
  const __m256 inverse = _mm256_set1_ps(zero ? 0.0f : kMostCode / most);
  __m256i n[4];
  for (int i = 0; i < 4; ++i) {
    n[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
  }
  sums = {
      reduce_add(_mm256_add_epi32(n[0], n[1])),
      reduce_add(_mm256_add_epi32(n[2], n[3]))};
  store_planes(n, codes);
  scale = zero ? 0.0f : most / kMostCode;
}

}  // namespace

}  // namespace roofline
