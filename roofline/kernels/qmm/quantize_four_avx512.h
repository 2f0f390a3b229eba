// Four groups of x in codes at a time, for AVX-512: what is summed or compared
// across lanes is done for all four together. Included by qmm_avx512.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/quantize_avx512.h"
#include "roofline/kernels/qmm/quantize_four.h"
#include "roofline/kernels/simd/avx512_intrinsics.h"

namespace roofline {

namespace {

/// Lane g of each 128 bits: groups[g]'s four lanes there, put together by op.
template <class Op>
inline __m512i across_lanes(const __m512i* groups, Op op) {
  const auto pair = [&](__m512i a, __m512i b) {
    return op(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const __m512i first = pair(groups[0], groups[1]);
  const __m512i second = pair(groups[2], groups[3]);
  return op(
      _mm512_unpacklo_epi64(first, second),
      _mm512_unpackhi_epi64(first, second));
}

/// The largest magnitude of each of four groups.
inline __m128 largest_of_four(const float* x) {
  // Magnitudes compared as integers: a NaN is the largest and isn't lost.
  const auto larger = [](__m512i a, __m512i b) {
    return _mm512_max_epi32(a, b);
  };
  const auto magnitudes = [](const float* at) {
    return _mm512_castps_si512(_mm512_abs_ps(_mm512_loadu_ps(at)));
  };
  __m512i groups[kFourGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kFourGroups; ++g) {
    const float* own = x + kGroup * g;
    groups[g] = larger(magnitudes(own), magnitudes(own + kGroup / 2));
  }
  const __m512i lanes = across_lanes(groups, larger);
  const __m256i halves = _mm256_max_epi32(
      _mm512_castsi512_si256(lanes),
      _mm512_extracti64x4_epi64(lanes, 1));
  return _mm_castsi128_ps(_mm_max_epi32(
      _mm256_castsi256_si128(halves),
      _mm256_extracti128_si256(halves, 1)));
}

/// A group's 32 codes as its two planes, with saturation.
inline __m512i planes_of(__m512i first, __m512i second) {
  const auto high_of = [](__m512i codes) {
    return _mm512_srai_epi32(
        _mm512_add_epi32(codes, _mm512_set1_epi32(kHighUnit / 2)),
        7);
  };
  const auto low_of = [](__m512i codes, __m512i high) {
    return _mm512_sub_epi32(codes, _mm512_slli_epi32(high, 7));
  };
  const __m512i high_first = high_of(first);
  const __m512i high_second = high_of(second);
  const __m512i packed = _mm512_packs_epi16(
      _mm512_packs_epi32(high_first, high_second),
      _mm512_packs_epi32(
          low_of(first, high_first),
          low_of(second, high_second)));
  // Each 128 bits hold four columns of both halves of both planes.
  const __m512i order =
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, packed);
}

/// Σ of codes of columns 0…15 of four groups, and of columns 16…31.
struct HalfSums {
  explicit HalfSums(const __m512i* planes) {
    const __m512i ones = _mm512_set1_epi8(1);
    // High codes, in the lower half, count 128 each.
    const __m512i shifts =
        _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(7), 0);
    __m512i groups[kFourGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kFourGroups; ++g) {
      groups[g] = _mm512_sllv_epi32(
          _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, planes[g]),
          shifts);
    }
    const __m512i lanes = across_lanes(groups, [](__m512i a, __m512i b) {
      return _mm512_add_epi32(a, b);
    });
    const __m256i both = _mm256_add_epi32(
        _mm512_castsi512_si256(lanes),
        _mm512_extracti64x4_epi64(lanes, 1));
    first = _mm256_castsi256_si128(both);
    second = _mm256_extracti128_si256(both, 1);
  }

  __m128i first;
  __m128i second;
};

/// Groups [group, group + 4); x: theirs.
inline void quantize_four(
    const float* x,
    const QuantizedRows& q,
    std::size_t group) {
  const __m128 most = largest_of_four(x);
  const __mmask8 zero =
      _mm_cmp_ps_mask(most, _mm_set1_ps(kZeroGroup), _CMP_LT_OQ);
  const __m128 codes = _mm_set1_ps(kMostCode);
  const auto other = static_cast<__mmask8>(~zero);
  const __m128 inverse = _mm_maskz_div_ps(other, codes, most);
  const __m128 scale = _mm_maskz_div_ps(other, most, codes);
  _mm_storeu_ps(q.scales + group, scale);
  __m512i planes[kFourGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kFourGroups; ++g) {
    const float* own = x + kGroup * g;
    const __m512 factor =
        _mm512_broadcastss_ps(_mm_permutevar_ps(inverse, _mm_set1_epi32(g)));
    const auto rounded = [&](const float* at) {
      return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(at), factor));
    };
    planes[g] = planes_of(rounded(own), rounded(own + kGroup / 2));
    _mm512_storeu_si512(
        q.codes + (group + static_cast<std::size_t>(g)) * kPlanes * kGroup,
        planes[g]);
  }
  const HalfSums sums(planes);
  store_four_sums(q, group, scale, sums.first, sums.second);
}

}  // namespace

}  // namespace roofline
