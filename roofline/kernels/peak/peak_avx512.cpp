#include "roofline/kernels/peak/peak_variants.h"
#include "roofline/kernels/simd/avx512_intrinsics.h"

namespace roofline {

namespace {

constexpr int kBytes = 64;
constexpr int kFloats = 16;

std::int64_t run_int8(std::int64_t rounds) {
  __m512i sums[kPeakChains] = {};
  const __m512i codes = _mm512_set1_epi8(1);
  const __m512i values = _mm512_set1_epi8(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, codes, values);
      // One by one: a sum of equal products could be had by multiplying.
      __asm__ volatile("" : "+v"(sum));
    }
  }
  __m512i total = _mm512_setzero_si512();
  for (const __m512i& sum : sums) {
    total = _mm512_add_epi32(total, sum);
  }
  return _mm512_reduce_add_epi32(total);
}

std::int64_t run_float32(std::int64_t rounds) {
  __m512 sums[kPeakChains] = {};
  const __m512 factor = _mm512_set1_ps(0.5F);
  const __m512 one = _mm512_set1_ps(1.0F);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (__m512& sum : sums) {
      sum = _mm512_fmadd_ps(sum, factor, one);
      // One by one: equal chains would be computed once.
      __asm__ volatile("" : "+v"(sum));
    }
  }
  __m512 total = _mm512_setzero_ps();
  for (const __m512& sum : sums) {
    total = _mm512_add_ps(total, sum);
  }
  return static_cast<std::int64_t>(_mm512_cvtss_f32(total));
}

}  // namespace

PeakKernel peak_avx512(PeakKind kind) {
  constexpr std::int64_t kTwice = 2 * kPeakChains;
  return kind == PeakKind::int8 ? PeakKernel{run_int8, kTwice * kBytes}
                                : PeakKernel{run_float32, kTwice * kFloats};
}

}  // namespace roofline
