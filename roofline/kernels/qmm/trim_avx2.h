// QmmKernels::trim for AVX2: what trim_rows.h does, eight codes at a time, and
// then each scale rounded to a whole number of a power of two that is the
// row's own (row_quantum()). It becomes an integer factor of the products' sums
// (unpacked_product_avx2.h); a value changes by at most 2^-15 of its unit's
// largest. Included by qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/quantize_avx2.h"
#include "roofline/kernels/qmm/trim_rows.h"

namespace roofline {

namespace {

/// What a row's scales are whole numbers of, at most kMostFactor.
constexpr int kMostFactor = 32767;

/// The power of two that goes into the largest scale 2^14 to 2^15 times. NaN
/// where a scale isn't finite.
inline float row_quantum(float largest) {
  constexpr std::int32_t kNotFinite = 0x7f800000;
  constexpr int kMantissaBits = 23;
  constexpr std::int32_t kBits = 14;
  // Its inverse is finite, too.
  constexpr std::int32_t kLeast = 1;
  const auto bits = std::bit_cast<std::int32_t>(largest);
  if (bits >= kNotFinite) {
    return std::bit_cast<float>(kNotFinite + 1);
  }
  const std::int32_t exponent = (bits >> kMantissaBits) - kBits;
  return std::bit_cast<float>(std::max(exponent, kLeast) << kMantissaBits);
}

/// The largest of a row's scales; a NaN is larger than all others.
inline float largest_of(const float* scales, std::size_t groups) {
  std::int32_t most = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    most = std::max(most, std::bit_cast<std::int32_t>(scales[g]));
  }
  return std::bit_cast<float>(most);
}

/// scale / quantum, whole; NaN becomes something.
inline int scale_factor(float scale, float quantum) {
  return std::min(
      kMostFactor,
      _mm_cvtss_si32(_mm_set_ss(scale * (1.0f / quantum))));
}

inline float rounded_scale(float scale, float quantum) {
  return static_cast<float>(scale_factor(scale, quantum)) * quantum;
}

struct WideCodes {
  __m256i n[4];  ///< 32 codes in 32 bits
};

/// 32 int8 codes, widened.
inline WideCodes widened(const std::int8_t* codes) {
  WideCodes wide;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    wide.n[i] = _mm256_cvtepi8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + 8 * i)));
  }
  return wide;
}

/// Σ of 16 int8 codes and of the next 16.
inline void sum_halves(__m256i codes, std::int32_t* sums) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
  const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    __m128i s = half == 0 ? _mm256_castsi256_si128(fours)
                          : _mm256_extracti128_si256(fours, 1);
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    sums[half] = _mm_cvtsi128_si32(s);
  }
}

/// Σ codes of a group's two halves, both planes together, at its scale.
inline void sum_group(const QuantizedRows& q, std::size_t group) {
  const std::int8_t* codes = q.codes + group * kPlanes * kGroup;
  const auto load = [](const std::int8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  };
  std::int32_t low[2];
  sum_halves(load(codes + kGroup), low);
  if (q.high[group] != 0) {
    std::int32_t high[2];
    sum_halves(load(codes), high);
    low[0] += kHighUnit * high[0];
    low[1] += kHighUnit * high[1];
  }
  store_sums(q, group, low[0], low[1]);
}

/// PortableGroups::keep_one_plane, but for the sums and the rounded scale.
inline void keep_high_plane(const QuantizedRows& q, std::size_t group) {
  auto* codes = reinterpret_cast<__m256i*>(q.codes + group * kPlanes * kGroup);
  _mm256_storeu_si256(codes + 1, _mm256_loadu_si256(codes));
  _mm256_storeu_si256(codes, _mm256_setzero_si256());
  q.high[group] = 0;
}

/// PortableGroups::keep_outliers, but for the sums and the scale.
inline void requantize(const QuantizedRows& q, std::size_t group, float unit) {
  std::int8_t* codes = q.codes + group * kPlanes * kGroup;
  const __m256 ratio = _mm256_set1_ps(q.scales[group] / unit);
  const __m256 round = _mm256_set1_ps(12582912.0f);  // as trim_rows.h rounds
  const __m256i most = _mm256_set1_epi32(kHighUnit - 1);
  const __m256i half = _mm256_set1_epi32(kHighUnit / 2);
  WideCodes high = widened(codes);
  WideCodes low = widened(codes + kGroup);
  unsigned bits = 0;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256i code =
        _mm256_add_epi32(_mm256_slli_epi32(high.n[i], 7), low.n[i]);
    const __m256i value = _mm256_cvttps_epi32(_mm256_sub_ps(
        _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(code), ratio), round),
        round));
    const __m256i over = _mm256_cmpgt_epi32(_mm256_abs_epi32(value), most);
    // Of any of the four in a 128-bit half.
    __m256i any = _mm256_or_si256(over, _mm256_shuffle_epi32(over, 0x4e));
    any = _mm256_or_si256(any, _mm256_shuffle_epi32(any, 0xb1));
    const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(any));
    bits |= ((mask & 1) != 0 ? 1u : 0u) << (2 * i);
    bits |= ((mask & 16) != 0 ? 2u : 0u) << (2 * i);
    high.n[i] = _mm256_and_si256(
        any,
        _mm256_srai_epi32(_mm256_add_epi32(value, half), 7));
    low.n[i] = _mm256_sub_epi32(value, _mm256_slli_epi32(high.n[i], 7));
  }
  store_bytes(high.n, codes);
  store_bytes(low.n, codes + kGroup);
  q.high[group] = static_cast<std::uint8_t>(bits);
}

void trim_to_quanta(
    const QuantizedRows& q,
    int token_begin,
    int token_end,
    float octaves) {
  const auto groups = static_cast<std::size_t>(q.cols / kGroup);
  for (int t = token_begin; t < token_end; ++t) {
    const std::size_t row = static_cast<std::size_t>(t) * groups;
    const float most = largest_scale(q.scales + row, groups, octaves);
    const float unit = most * kHighUnit;
    const float largest = largest_of(q.scales + row, groups);
    const float quantum = row_quantum(largest <= unit ? unit : largest);
    for (std::size_t g = row; g < row + groups; ++g) {
      float scale = q.scales[g];
      if (scale <= most) {
        keep_high_plane(q, g);
        scale *= kHighUnit;
      } else if (scale < unit) {
        requantize(q, g, unit);
        scale = unit;
      } else {
        q.high[g] = 0xff;
      }
      q.scales[g] = rounded_scale(scale, quantum);
      sum_group(q, g);
    }
  }
}

}  // namespace

}  // namespace roofline
