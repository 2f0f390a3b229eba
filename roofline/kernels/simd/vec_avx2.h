// Eight floats in an AVX2 register (with FMA and F16C). See vec_generic.h for
// what each function means and why the namespace is unnamed.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "roofline/kernels/simd/half.h"

namespace roofline {
namespace {

struct Vec {
  static constexpr int kWidth = 8;
  static constexpr int kTileRows = 6;
  static constexpr int kTileVecs = 2;

  __m256 v;

  static Vec all(float value) { return {_mm256_set1_ps(value)}; }
  static Vec load(const float* from) { return {_mm256_loadu_ps(from)}; }
  static __m256i mask(int n) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes);
  }
  static Vec load(const float* from, int n) {
    return {_mm256_maskload_ps(from, mask(n))};
  }
  static Vec load(const Half* from) {
    return {_mm256_cvtph_ps(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
  }
  static Vec load(const Half* from, int n) {
    alignas(16) Half copy[kWidth] = {};
    for (int i = 0; i < n; ++i) {
      copy[i] = from[i];
    }
    return load(copy);
  }
  static __m256i bytes(const std::uint8_t* from) {
    return _mm256_cvtepu8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  }
  static Vec load_bytes(const std::uint8_t* from) {
    return {_mm256_cvtepi32_ps(bytes(from))};
  }
  static Vec load_low_halves(const std::uint8_t* from) {
    return {_mm256_cvtepi32_ps(
        _mm256_and_si256(bytes(from), _mm256_set1_epi32(15)))};
  }
  static Vec load_high_halves(const std::uint8_t* from) {
    return {_mm256_cvtepi32_ps(_mm256_srli_epi32(bytes(from), 4))};
  }
  void store(float* to) const { _mm256_storeu_ps(to, v); }
  void store(float* to, int n) const { _mm256_maskstore_ps(to, mask(n), v); }
  __m128i halves() const {
    return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  void store(Half* to) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), halves());
  }
  void store(Half* to, int n) const {
    alignas(16) Half copy[kWidth];
    _mm_store_si128(reinterpret_cast<__m128i*>(copy), halves());
    for (int i = 0; i < n; ++i) {
      to[i] = copy[i];
    }
  }
};

inline Vec operator+(Vec a, Vec b) {
  return {_mm256_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm256_div_ps(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
inline Vec max(Vec a, Vec b) {
  return {_mm256_max_ps(a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
  return {_mm256_min_ps(a.v, b.v)};
}
inline Vec round(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Vec pow2(Vec n) {
  const __m256i biased =
      _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
}
inline Vec where_less(Vec a, Vec b, Vec x, Vec y) {
  return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
inline Vec swap_pairs(Vec a) {
  return {_mm256_permute_ps(a.v, 0xb1)};
}
inline float sum_of(Vec a) {
  __m128 s =
      _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float max_of(Vec a) {
  __m128 s =
      _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
/// The sums of four registers' halves: of the lower ones, then of the upper.
inline Vec sums_of_four(const Vec* r) {
  // Blends and shuffles: a horizontal addition takes as many of the latter as
  // two of them, and one port less is free for it.
  const auto halve = [](__m256 a, __m256 b) {
    return _mm256_add_ps(
        _mm256_blend_ps(a, b, 0xcc),
        _mm256_shuffle_ps(a, b, 0x4e));
  };
  const __m256 ab = halve(r[0].v, r[1].v);
  const __m256 cd = halve(r[2].v, r[3].v);
  return {_mm256_add_ps(
      _mm256_shuffle_ps(ab, cd, 0x88),
      _mm256_shuffle_ps(ab, cd, 0xdd))};
}
inline void store_four(Vec a, float* to) {
  _mm_storeu_ps(
      to,
      _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1)));
}
inline Vec sums_of(const Vec* r) {
  const __m256 low = sums_of_four(r).v;
  const __m256 high = sums_of_four(r + 4).v;
  return {_mm256_add_ps(
      _mm256_permute2f128_ps(low, high, 0x20),
      _mm256_permute2f128_ps(low, high, 0x31))};
}
inline void transpose(Vec* r) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  __m256 u[8];
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

}  // namespace
}  // namespace roofline
