// See code_lanes.h: 4 lanes.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/simd/vec_neon.h"

namespace roofline {
namespace {

struct CodeLanes {
  static constexpr int kWidth = 4;
  static constexpr int kValueRows = 4;
  static constexpr int kParts = 1;
  static constexpr int kChains = 2;

  uint32x4_t v;

  static CodeLanes zero() { return {vdupq_n_u32(0)}; }
  template <int BLOCKS>
  static CodeLanes load_blocks(
      const std::uint8_t* from,
      std::ptrdiff_t /*apart*/) {
    return {vreinterpretq_u32_u8(vld1q_u8(from))};
  }
  void store(std::int32_t* to) const {
    vst1q_s32(to, vreinterpretq_s32_u32(v));
  }
  static CodeLanes all(std::int32_t value) {
    return {vreinterpretq_u32_s32(vdupq_n_s32(value))};
  }

  static void turn_to_slots(CodeLanes* x) {
    const uint32x4_t a = vzip1q_u32(x[0].v, x[2].v);
    const uint32x4_t b = vzip2q_u32(x[0].v, x[2].v);
    const uint32x4_t c = vzip1q_u32(x[1].v, x[3].v);
    const uint32x4_t d = vzip2q_u32(x[1].v, x[3].v);
    x[0].v = vzip1q_u32(a, c);
    x[1].v = vzip2q_u32(a, c);
    x[2].v = vzip1q_u32(b, d);
    x[3].v = vzip2q_u32(b, d);
  }
  static void turn_to_bytes(CodeLanes* x) {
    uint8x16_t bytes[4];
    for (int i = 0; i < 4; ++i) {
      bytes[i] = vreinterpretq_u8_u32(x[i].v);
    }
    const auto words = [](uint8x16_t y) { return vreinterpretq_u16_u8(y); };
    const uint16x8_t a = words(vzip1q_u8(bytes[0], bytes[1]));
    const uint16x8_t b = words(vzip2q_u8(bytes[0], bytes[1]));
    const uint16x8_t c = words(vzip1q_u8(bytes[2], bytes[3]));
    const uint16x8_t d = words(vzip2q_u8(bytes[2], bytes[3]));
    x[0].v = vreinterpretq_u32_u16(vzip1q_u16(a, c));
    x[1].v = vreinterpretq_u32_u16(vzip2q_u16(a, c));
    x[2].v = vreinterpretq_u32_u16(vzip1q_u16(b, d));
    x[3].v = vreinterpretq_u32_u16(vzip2q_u16(b, d));
  }

  template <int BITS, int HALF>
  CodeLanes even() const {
    const uint32x4_t mask = vdupq_n_u32(BITS == 8 ? 0x00ff00ff : 0x000f000f);
    return {vandq_u32(HALF == 0 ? v : vshrq_n_u32(v, 4), mask)};
  }
  template <int BITS, int HALF>
  CodeLanes odd() const {
    const uint32x4_t mask = vdupq_n_u32(BITS == 8 ? 0x00ff00ff : 0x000f000f);
    return {vandq_u32(vshrq_n_u32(v, 8 + 4 * HALF), mask)};
  }
  void store_pairs(std::int32_t* to) const {
    const int16x4_t x = vmovn_s32(vreinterpretq_s32_u32(v));
    const int32x2_t even = vreinterpret_s32_s16(vuzp1_s16(x, x));
    const int32x2_t odd = vreinterpret_s32_s16(vuzp2_s16(x, x));
    vst1_s32(to, vzip1_s32(even, odd));
  }
  template <int BLOCKS, int GROUPS>
  static CodeLanes spread_pairs(
      const std::int32_t* from,
      int /*groups_apart*/) {
    return all(*from);
  }

  static CodeLanes add_products(CodeLanes sums, CodeLanes a, CodeLanes b) {
    const int16x8_t x = vreinterpretq_s16_u32(a.v);
    const int16x8_t y = vreinterpretq_s16_u32(b.v);
    const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    const int32x4_t high = vmull_high_s16(x, y);
    return {vaddq_u32(sums.v, vreinterpretq_u32_s32(vpaddq_s32(low, high)))};
  }
  friend CodeLanes operator+(CodeLanes a, CodeLanes b) {
    return {vaddq_u32(a.v, b.v)};
  }

  static CodeLanes rounded(Vec x) {
    return {vreinterpretq_u32_s32(vcvtnq_s32_f32(x.v))};
  }
  Vec floats() const { return {vcvtq_f32_s32(vreinterpretq_s32_u32(v))}; }
  template <int BLOCKS>
  static void sum_blocks(const CodeLanes* x, Vec* sums) {
    for (int j = 0; j < 4; ++j) {
      sums[j] = x[j].floats();
    }
  }
};

}  // namespace
}  // namespace roofline
