// One group of x in codes, and with its planes trimmed, for AVX-512. Included
// by qmm_avx512.cpp.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "roofline/kernels/qmm/trim_rows.h"
#include "roofline/kernels/simd/avx512_intrinsics.h"

namespace roofline {

namespace {

/// Σ of each half of 32 bytes.
inline std::array<std::int32_t, 2> sum_halves(__m256i bytes) {
  // Made unsigned by adding 128; sums of eight bytes in each 64 bits.
  const __m256i eights = _mm256_sad_epu8(
      _mm256_xor_si256(bytes, _mm256_set1_epi8(static_cast<char>(0x80))),
      _mm256_setzero_si256());
  const __m256i halves =
      _mm256_add_epi64(eights, _mm256_unpackhi_epi64(eights, eights));
  constexpr int kAdded = 128 * kGroup / 2;
  return {
      _mm256_cvtsi256_si32(halves) - kAdded,
      _mm_cvtsi128_si32(_mm256_extracti128_si256(halves, 1)) - kAdded};
}

/// Both planes of a group together, with saturation.
struct PlanePair {
  /// codes: 16 each; two_planes: the columns with high codes.
  PlanePair(__m512i first, __m512i second, __mmask32 two_planes) {
    const auto split = [](__m512i codes, __mmask16 mask, __m512i& high) {
      const __m512i half = _mm512_set1_epi32(kHighUnit / 2);
      high = _mm512_maskz_srai_epi32(mask, _mm512_add_epi32(codes, half), 7);
      return _mm512_sub_epi32(codes, _mm512_slli_epi32(high, 7));
    };
    __m512i high_first;
    __m512i high_second;
    first = split(first, static_cast<__mmask16>(two_planes), high_first);
    second =
        split(second, static_cast<__mmask16>(two_planes >> 16), high_second);
    high = bytes(high_first, high_second);
    low = bytes(first, second);
  }

  static __m256i bytes(__m512i first, __m512i second) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm512_cvtsepi32_epi8(first)),
        _mm512_cvtsepi32_epi8(second),
        1);
  }

  /// Writes the codes; returns Σ of each half.
  std::array<std::int32_t, 2> store(std::int8_t* codes) const {
    _mm512_storeu_si512(
        codes,
        _mm512_inserti64x4(_mm512_castsi256_si512(high), low, 1));
    const auto highs = sum_halves(high);
    const auto lows = sum_halves(low);
    return {kHighUnit * highs[0] + lows[0], kHighUnit * highs[1] + lows[1]};
  }

  __m256i high;
  __m256i low;
};

/// sums: of the codes of each half.
void quantize_group(
    const float* x,
    std::int8_t* codes,
    float& scale,
    std::array<std::int32_t, 2>& sums) {
  const __m512 first = _mm512_loadu_ps(x);
  const __m512 second = _mm512_loadu_ps(x + 16);
  // Magnitudes compared as integers: a NaN is the largest and isn't lost.
  const __m512i magnitudes = _mm512_max_epi32(
      _mm512_castps_si512(_mm512_abs_ps(first)),
      _mm512_castps_si512(_mm512_abs_ps(second)));
  const int bits = _mm512_reduce_max_epi32(magnitudes);
  float most = 0;
  std::memcpy(&most, &bits, sizeof(most));
  const bool zero = most < kZeroGroup;
  const __m512 inverse = _mm512_set1_ps(zero ? 0.0f : kMostCode / most);
  scale = zero ? 0.0f : most / kMostCode;
  sums = PlanePair(
             _mm512_cvtps_epi32(_mm512_mul_ps(first, inverse)),
             _mm512_cvtps_epi32(_mm512_mul_ps(second, inverse)),
             ~__mmask32{0})
             .store(codes);
}

/// trim_rows() in registers.
struct Avx512Groups {
  static void keep_one_plane(const QuantizedRows& q, std::size_t group) {
    std::int8_t* codes = q.codes + group * kPlanes * kGroup;
    const __m256i high =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
    _mm512_storeu_si512(
        codes,
        _mm512_inserti64x4(_mm512_setzero_si512(), high, 1));
    const auto sums = sum_halves(high);
    q.scales[group] *= kHighUnit;
    q.high[group] = 0;
    store_sums(q, group, sums[0], sums[1]);
  }

  static void keep_outliers(
      const QuantizedRows& q,
      std::size_t group,
      float unit) {
    std::int8_t* codes = q.codes + group * kPlanes * kGroup;
    const __m512 ratio = _mm512_set1_ps(q.scales[group] / unit);
    const auto rounded = [&](const std::int8_t* from) {
      const auto wide = [](const std::int8_t* at) {
        return _mm512_cvtepi8_epi32(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
      };
      const __m512i old = _mm512_add_epi32(
          _mm512_slli_epi32(wide(from), 7),
          wide(from + kGroup));
      return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(old), ratio));
    };
    const __m512i first = rounded(codes);
    const __m512i second = rounded(codes + 16);
    const auto beyond = [](__m512i values) {
      return _mm512_cmpgt_epi32_mask(
          _mm512_abs_epi32(values),
          _mm512_set1_epi32(kHighUnit - 1));
    };
    const unsigned any = beyond(first) | static_cast<unsigned>(beyond(second))
                                             << 16;
    constexpr unsigned kFirstOfFour = 0x11111111;
    const unsigned high =
        _pext_u32(any | any >> 1 | any >> 2 | any >> 3, kFirstOfFour);
    const PlanePair planes(
        first,
        second,
        _cvtu32_mask32(_pdep_u32(high, kFirstOfFour) * 0xf));
    const auto sums = planes.store(codes);
    q.scales[group] = unit;
    q.high[group] = static_cast<std::uint8_t>(high);
    store_sums(q, group, sums[0], sums[1]);
  }
};

}  // namespace

}  // namespace roofline
