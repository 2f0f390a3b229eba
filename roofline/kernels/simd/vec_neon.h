// Four floats in a NEON register. See vec_generic.h for what each function
// means and why the namespace is unnamed.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "roofline/kernels/simd/half.h"

namespace roofline {
namespace {

struct Vec {
  static constexpr int kWidth = 4;
  // 24 sums of 32 registers; a panel of 16 columns is a block of packed rows.
  static constexpr int kTileRows = 6;
  static constexpr int kTileVecs = 4;

  float32x4_t v;

  static Vec all(float value) { return {vdupq_n_f32(value)}; }
  static Vec load(const float* from) { return {vld1q_f32(from)}; }
  static Vec load(const float* from, int n) {
    float copy[kWidth] = {};
    for (int i = 0; i < n; ++i) {
      copy[i] = from[i];
    }
    return load(copy);
  }
  static Vec load(const Half* from) {
    return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)))};
  }
  static Vec load(const Half* from, int n) {
    Half copy[kWidth] = {};
    for (int i = 0; i < n; ++i) {
      copy[i] = from[i];
    }
    return load(copy);
  }
  static uint8x8_t bytes(const std::uint8_t* from) {
    std::uint32_t four = 0;
    __builtin_memcpy(&four, from, sizeof(four));
    return vreinterpret_u8_u32(vdup_n_u32(four));
  }
  static Vec whole(uint8x8_t bytes) {
    return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))))};
  }
  static Vec load_bytes(const std::uint8_t* from) { return whole(bytes(from)); }
  static Vec load_low_halves(const std::uint8_t* from) {
    return whole(vand_u8(bytes(from), vdup_n_u8(15)));
  }
  static Vec load_high_halves(const std::uint8_t* from) {
    return whole(vshr_n_u8(bytes(from), 4));
  }
  void store(float* to) const { vst1q_f32(to, v); }
  void store(float* to, int n) const {
    float copy[kWidth];
    store(copy);
    for (int i = 0; i < n; ++i) {
      to[i] = copy[i];
    }
  }
  void store(Half* to) const {
    vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(v)));
  }
  void store(Half* to, int n) const {
    Half copy[kWidth];
    store(copy);
    for (int i = 0; i < n; ++i) {
      to[i] = copy[i];
    }
  }
};

inline Vec operator+(Vec a, Vec b) {
  return {vaddq_f32(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {vsubq_f32(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {vmulq_f32(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {vdivq_f32(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {vfmaq_f32(c.v, a.v, b.v)};
}
// Not vmaxq: where a is not a number it would give a.
inline Vec max(Vec a, Vec b) {
  return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
  return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)};
}
inline Vec round(Vec a) {
  return {vrndnq_f32(a.v)};
}
inline Vec pow2(Vec n) {
  const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n.v), vdupq_n_s32(127));
  return {vreinterpretq_f32_s32(vshlq_n_s32(biased, 23))};
}
inline Vec where_less(Vec a, Vec b, Vec x, Vec y) {
  return {vbslq_f32(vcltq_f32(a.v, b.v), x.v, y.v)};
}
inline Vec swap_pairs(Vec a) {
  return {vrev64q_f32(a.v)};
}
inline float sum_of(Vec a) {
  return vaddvq_f32(a.v);
}
inline float max_of(Vec a) {
  return vmaxvq_f32(a.v);
}
inline Vec sums_of(const Vec* r) {
  return {vpaddq_f32(vpaddq_f32(r[0].v, r[1].v), vpaddq_f32(r[2].v, r[3].v))};
}
inline void transpose(Vec* r) {
  const float32x4_t a = vtrn1q_f32(r[0].v, r[1].v);
  const float32x4_t b = vtrn2q_f32(r[0].v, r[1].v);
  const float32x4_t c = vtrn1q_f32(r[2].v, r[3].v);
  const float32x4_t d = vtrn2q_f32(r[2].v, r[3].v);
  const auto join = [](float32x2_t low, float32x2_t high) {
    return vcombine_f32(low, high);
  };
  r[0].v = join(vget_low_f32(a), vget_low_f32(c));
  r[1].v = join(vget_low_f32(b), vget_low_f32(d));
  r[2].v = join(vget_high_f32(a), vget_high_f32(c));
  r[3].v = join(vget_high_f32(b), vget_high_f32(d));
}

}  // namespace
}  // namespace roofline
