#include <arm_neon.h>

#include <cstring>

#include "roofline/kernels/dense/dense_impl.h"

namespace roofline {

namespace {

/// Eight floats in two registers: a whole one of halves.
struct Neon {
  struct Register {
    float32x4_t low;
    float32x4_t high;
  };
  static constexpr int kWidth = 8;
  static constexpr int kRows = 2;  ///< 2 × 4 pairs of sums, of 32 registers
  static constexpr int kSingleTokens = 2;  ///< 2 × 4 pairs too
  static constexpr int kFewRows = 1;
  static constexpr int kFewTokens = 2;

  static Register zero() { return {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)}; }
  static Register fma(Register a, Register b, Register c) {
    return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
  }
  static float sum(Register v) { return vaddvq_f32(vaddq_f32(v.low, v.high)); }

  template <PackedFormat kFormat>
  static Register load(const std::byte* from) {
    if constexpr (kFormat == PackedFormat::f32) {
      const auto* floats = reinterpret_cast<const float*>(from);
      return {vld1q_f32(floats), vld1q_f32(floats + 4)};
    } else {
      const uint16x8_t halves = vreinterpretq_u16_u8(
          vld1q_u8(reinterpret_cast<const uint8_t*>(from)));
      if constexpr (kFormat == PackedFormat::f16) {
        const float16x8_t values = vreinterpretq_f16_u16(halves);
        return {vcvt_f32_f16(vget_low_f16(values)), vcvt_high_f32_f16(values)};
      }
      return {
          vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(halves), 16)),
          vreinterpretq_f32_u32(vshll_high_n_u16(halves, 16))};
    }
  }

  template <PackedFormat kFormat>
  static Register load_part(const std::byte* from, int count) {
    alignas(32) std::byte values[kWidth * 4] = {};
    std::memcpy(
        values,
        from,
        static_cast<std::size_t>(count) *
            static_cast<std::size_t>(kBytes<kFormat>));
    return load<kFormat>(values);
  }
};

}  // namespace

const DenseKernels& dense_neon() {
  static constexpr DenseKernels kKernels{"neon", dense_product<Neon>};
  return kKernels;
}

}  // namespace roofline
