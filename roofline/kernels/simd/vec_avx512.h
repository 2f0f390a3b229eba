// Sixteen floats in an AVX-512 register. See vec_generic.h for what each
// function means and why the namespace is unnamed.
#pragma once

#include <cstdint>

#include "roofline/kernels/simd/avx512_intrinsics.h"
#include "roofline/kernels/simd/half.h"

namespace roofline {
namespace {

struct Vec {
  static constexpr int kWidth = 16;
  static constexpr int kTileRows = 6;
  static constexpr int kTileVecs = 4;

  __m512 v;

  static Vec all(float value) { return {_mm512_set1_ps(value)}; }
  static Vec load(const float* from) { return {_mm512_loadu_ps(from)}; }
  static __mmask16 mask(int n) {
    return static_cast<__mmask16>((1u << n) - 1u);
  }
  static Vec load(const float* from, int n) {
    return {_mm512_maskz_loadu_ps(mask(n), from)};
  }
  static Vec load(const Half* from) {
    return {_mm512_cvtph_ps(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
  }
  static Vec load(const Half* from, int n) {
    return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), from))};
  }
  static __m512i bytes(const std::uint8_t* from) {
    return _mm512_cvtepu8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Vec load_bytes(const std::uint8_t* from) {
    return {_mm512_cvtepi32_ps(bytes(from))};
  }
  static Vec load_low_halves(const std::uint8_t* from) {
    return {_mm512_cvtepi32_ps(
        _mm512_and_si512(bytes(from), _mm512_set1_epi32(15)))};
  }
  static Vec load_high_halves(const std::uint8_t* from) {
    return {_mm512_cvtepi32_ps(_mm512_srli_epi32(bytes(from), 4))};
  }
  void store(float* to) const { _mm512_storeu_ps(to, v); }
  void store(float* to, int n) const { _mm512_mask_storeu_ps(to, mask(n), v); }
  __m256i halves() const {
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  void store(Half* to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves());
  }
  void store(Half* to, int n) const {
    _mm256_mask_storeu_epi16(to, mask(n), halves());
  }
};

inline Vec operator+(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline Vec max(Vec a, Vec b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
  return {_mm512_min_ps(a.v, b.v)};
}
inline Vec round(Vec a) {
  return {
      _mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Vec pow2(Vec n) {
  return {_mm512_scalef_ps(_mm512_set1_ps(1.0f), n.v)};
}
inline Vec where_less(Vec a, Vec b, Vec x, Vec y) {
  return {
      _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
inline Vec swap_pairs(Vec a) {
  return {_mm512_permute_ps(a.v, 0xb1)};
}
inline float sum_of(Vec a) {
  return _mm512_reduce_add_ps(a.v);
}
inline float max_of(Vec a) {
  return _mm512_reduce_max_ps(a.v);
}
inline __m512 add_halves_of_lanes(__m512 a, __m512 b) {
  return _mm512_add_ps(
      _mm512_shuffle_f32x4(a, b, 0x88),
      _mm512_shuffle_f32x4(a, b, 0xdd));
}
inline Vec sums_of(const Vec* r) {
  __m512 four[4];
  for (int i = 0; i < 4; ++i) {
    const __m512 a = r[4 * i].v;
    const __m512 b = r[4 * i + 1].v;
    const __m512 c = r[4 * i + 2].v;
    const __m512 d = r[4 * i + 3].v;
    const __m512d ab = _mm512_castps_pd(
        _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(
        _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    four[i] = _mm512_add_ps(
        _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
  }
  return {add_halves_of_lanes(
      add_halves_of_lanes(four[0], four[1]),
      add_halves_of_lanes(four[2], four[3]))};
}
inline void transpose(Vec* r) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  __m512 u[16];
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  // u[4a + c]: lane l holds column 4l + c of rows 4a … 4a + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512 low01 = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x44);
    const __m512 high01 = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xee);
    const __m512 low23 = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x44);
    const __m512 high23 = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xee);
    r[c].v = _mm512_shuffle_f32x4(low01, low23, 0x88);
    r[4 + c].v = _mm512_shuffle_f32x4(low01, low23, 0xdd);
    r[8 + c].v = _mm512_shuffle_f32x4(high01, high23, 0x88);
    r[12 + c].v = _mm512_shuffle_f32x4(high01, high23, 0xdd);
  }
}

}  // namespace
}  // namespace roofline
