// Chains of an Arm instruction on registers only. Included by the files that
// name the instruction.
#pragma once

#include <arm_neon.h>

#include "roofline/kernels/peak/peak_variants.h"

namespace roofline {
namespace {

/// Four cycles of latency, up to four a cycle, and registers to spare.
constexpr int kArmChains = 24;

/// Add: one instruction, int32 sums (+)= products of codes.
template <class Add>
std::int64_t run_bytes(std::int64_t rounds, Add add) {
  int32x4_t sums[kArmChains];
  for (int32x4_t& sum : sums) {
    sum = vdupq_n_s32(0);
  }
  const int8x16_t codes = vdupq_n_s8(1);
  const int8x16_t values = vdupq_n_s8(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (int32x4_t& sum : sums) {
      // One by one: a sum of equal products could be had by multiplying. A
      // copy, for what is told to change itself stays in memory.
      int32x4_t next = add(sum, codes, values);
      __asm__ volatile("" : "+w"(next));
      sum = next;
    }
  }
  int32x4_t total = vdupq_n_s32(0);
  for (const int32x4_t& sum : sums) {
    total = vaddq_s32(total, sum);
  }
  return vaddvq_s32(total);
}

inline std::int64_t run_float32(std::int64_t rounds) {
  float32x4_t sums[kArmChains];
  for (float32x4_t& sum : sums) {
    sum = vdupq_n_f32(0.0F);
  }
  const float32x4_t factor = vdupq_n_f32(0.5F);
  const float32x4_t one = vdupq_n_f32(1.0F);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (float32x4_t& sum : sums) {
      float32x4_t next = vfmaq_f32(one, sum, factor);
      __asm__ volatile("" : "+w"(next));
      sum = next;
    }
  }
  float32x4_t total = vdupq_n_f32(0.0F);
  for (const float32x4_t& sum : sums) {
    total = vaddq_f32(total, sum);
  }
  return static_cast<std::int64_t>(vgetq_lane_f32(total, 0));
}

/// products: of one instruction.
inline PeakKernel arm_peak(
    PeakKind kind,
    std::int64_t (*run_int8)(std::int64_t),
    int products) {
  constexpr std::int64_t kTwice = 2 * kArmChains;
  return kind == PeakKind::int8 ? PeakKernel{run_int8, kTwice * products}
                                : PeakKernel{run_float32, kTwice * 4};
}

}  // namespace
}  // namespace roofline
