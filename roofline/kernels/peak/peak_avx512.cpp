#include "roofline/kernels/peak/peak_variants.h"
#include "roofline/kernels/simd/avx512_intrinsics.h"

namespace roofline {

namespace {

constexpr int kBytes = 64;
constexpr int kFloats = 16;

struct Ints {
  __m512i value;
};

struct Floats {
  __m512 value;
};

std::int64_t run_int8(std::int64_t rounds) {
  PeakSums<Ints> sums;
  const __m512i codes = _mm512_set1_epi8(1);
  const __m512i values = _mm512_set1_epi8(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
    sums.each([&](Ints& sum) {
      __m512i next = _mm512_dpbusd_epi32(sum.value, codes, values);
      // One by one: a sum of equal products could be had by multiplying.
      __asm__ volatile("" : "+v"(next));
      sum.value = next;
    });
  }
  __m512i total = _mm512_setzero_si512();
  sums.each(
      [&](const Ints& sum) { total = _mm512_add_epi32(total, sum.value); });
  return _mm512_reduce_add_epi32(total);
}

std::int64_t run_float32(std::int64_t rounds) {
  PeakSums<Floats> sums;
  const __m512 factor = _mm512_set1_ps(0.5F);
  const __m512 one = _mm512_set1_ps(1.0F);
  for (std::int64_t round = 0; round < rounds; ++round) {
    sums.each([&](Floats& sum) {
      __m512 next = _mm512_fmadd_ps(sum.value, factor, one);
      // One by one: equal chains would be computed once.
      __asm__ volatile("" : "+v"(next));
      sum.value = next;
    });
  }
  __m512 total = _mm512_setzero_ps();
  sums.each(
      [&](const Floats& sum) { total = _mm512_add_ps(total, sum.value); });
  return static_cast<std::int64_t>(_mm512_cvtss_f32(total));
}

}  // namespace

PeakKernel peak_avx512(PeakKind kind) {
  constexpr std::int64_t kTwice = 2 * kPeakChains;
  return kind == PeakKind::int8 ? PeakKernel{run_int8, kTwice * kBytes}
                                : PeakKernel{run_float32, kTwice * kFloats};
}

}  // namespace roofline
