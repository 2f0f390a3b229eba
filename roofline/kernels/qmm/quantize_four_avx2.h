// Four groups of x in codes at a time, for AVX2: what is summed or compared
// across lanes is done for all four together, and no group waits for another's
// division. Included by qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/quantize_avx2.h"
#include "roofline/kernels/qmm/quantize_four.h"

namespace roofline {

namespace {

constexpr int kGroupVectors = kGroup / 8;

/// Lane g: groups[g]'s eight lanes, put together by op (of 256 bits) and then
/// last (of 128).
template <class Op, class Last>
inline __m128i across_lanes(const __m256i* groups, Op op, Last last) {
  const auto pair = [&](__m256i a, __m256i b) {
    return op(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  };
  const __m256i first = pair(groups[0], groups[1]);
  const __m256i second = pair(groups[2], groups[3]);
  const __m256i all =
      op(_mm256_unpacklo_epi64(first, second),
         _mm256_unpackhi_epi64(first, second));
  return last(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

/// The largest magnitude of each of four groups.
inline __m128 largest_of_four(const float* x) {
  // Compared as integers, a NaN is the largest and isn't lost.
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i groups[kFourGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kFourGroups; ++g) {
    groups[g] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int i = 0; i < kGroupVectors; ++i) {
      const __m256 v = _mm256_loadu_ps(x + kGroup * g + 8 * i);
      groups[g] = _mm256_max_epi32(
          groups[g],
          _mm256_and_si256(_mm256_castps_si256(v), magnitude));
    }
  }
  return _mm_castsi128_ps(across_lanes(
      groups,
      [](__m256i a, __m256i b) { return _mm256_max_epi32(a, b); },
      [](__m128i a, __m128i b) { return _mm_max_epi32(a, b); }));
}

inline __m128i sums_across_lanes(const __m256i* groups) {
  return across_lanes(
      groups,
      [](__m256i a, __m256i b) { return _mm256_add_epi32(a, b); },
      [](__m128i a, __m128i b) { return _mm_add_epi32(a, b); });
}

/// Groups [group, group + 4), as quantize_group() makes them; x: theirs.
inline void quantize_four(
    const float* x,
    const QuantizedRows& q,
    std::size_t group) {
  const __m128 most = largest_of_four(x);
  const __m128 zero = _mm_cmplt_ps(most, _mm_set1_ps(kZeroGroup));
  const __m128 codes = _mm_set1_ps(kMostCode);
  const __m128 scale = _mm_andnot_ps(zero, _mm_div_ps(most, codes));
  alignas(16) float inverse[kFourGroups];
  _mm_store_ps(inverse, _mm_andnot_ps(zero, _mm_div_ps(codes, most)));
  _mm_storeu_ps(q.scales + group, scale);
  __m256i first[kFourGroups];
  __m256i second[kFourGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kFourGroups; ++g) {
    const __m256 factor = _mm256_broadcast_ss(inverse + g);
    __m256i n[kGroupVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kGroupVectors; ++i) {
      n[i] = _mm256_cvtps_epi32(
          _mm256_mul_ps(_mm256_loadu_ps(x + kGroup * g + 8 * i), factor));
    }
    first[g] = _mm256_add_epi32(n[0], n[1]);
    second[g] = _mm256_add_epi32(n[2], n[3]);
    store_planes(
        n,
        q.codes + (group + static_cast<std::size_t>(g)) * kPlanes * kGroup);
  }
  store_four_sums(
      q,
      group,
      scale,
      sums_across_lanes(first),
      sums_across_lanes(second));
}

}  // namespace

}  // namespace roofline
