#include <immintrin.h>

#include "roofline/kernels/peak/peak_variants.h"

namespace roofline {

namespace {

constexpr int kBytes = 32;
constexpr int kFloats = 8;

struct Ints {
  __m256i value = _mm256_setzero_si256();
};

struct Floats {
  __m256 value;
};

/// Products that sums of 16 bits hold before they are widened: those of a group
/// of 32 columns in 4 bits.
constexpr int kBeforeWidening = 8;

std::int64_t run_int8(std::int64_t rounds) {
  __m256i codes = _mm256_set1_epi8(1);
  const __m256i values = _mm256_set1_epi8(1);
  __m256i total = _mm256_setzero_si256();
  for (std::int64_t round = 0; round < rounds; ++round) {
    PeakSums<Ints> pairs;
#pragma GCC unroll 8
    for (int i = 0; i < kBeforeWidening; ++i) {
      pairs.each([&](Ints& sum) {
        // Told to change: equal products would be computed once, and sums kept
        // in memory.
        __asm__ volatile("" : "+x"(codes), "+x"(sum.value));
        sum.value =
            _mm256_add_epi16(sum.value, _mm256_maddubs_epi16(codes, values));
      });
    }
    pairs.each([&](const Ints& sum) {
      total = _mm256_add_epi32(total, _mm256_madd_epi16(sum.value, values));
    });
  }
  return _mm256_extract_epi32(total, 0);
}

std::int64_t run_float32(std::int64_t rounds) {
  PeakSums<Floats> sums;
  const __m256 factor = _mm256_set1_ps(0.5F);
  const __m256 one = _mm256_set1_ps(1.0F);
  for (std::int64_t round = 0; round < rounds; ++round) {
    sums.each([&](Floats& sum) {
      __m256 next = _mm256_fmadd_ps(sum.value, factor, one);
      // One by one: equal chains would be computed once.
      __asm__ volatile("" : "+x"(next));
      sum.value = next;
    });
  }
  __m256 total = _mm256_setzero_ps();
  sums.each(
      [&](const Floats& sum) { total = _mm256_add_ps(total, sum.value); });
  return static_cast<std::int64_t>(_mm256_cvtss_f32(total));
}

}  // namespace

PeakKernel peak_avx2(PeakKind kind) {
  constexpr std::int64_t kTwice = 2 * kPeakChains;
  return kind == PeakKind::int8
             ? PeakKernel{run_int8, kTwice * kBytes * kBeforeWidening}
             : PeakKernel{run_float32, kTwice * kFloats};
}

}  // namespace roofline
