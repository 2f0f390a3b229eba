// Four groups of x in codes at a time: what AVX2 and AVX-512 do alike. Included
// by their files.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

namespace {

constexpr int kFourGroups = 4;

/// store_sums() of groups from `group` on; first, second: of the codes of their
/// halves.
inline void store_four_sums(
    const QuantizedRows& q,
    std::size_t group,
    __m128 scale,
    __m128i first,
    __m128i second) {
  const __m128i all = _mm_add_epi32(first, second);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q.code_sums + group), all);
  _mm_storeu_ps(q.sums + group, _mm_mul_ps(scale, _mm_cvtepi32_ps(all)));
  if (q.half_sums != nullptr) {
    const __m128 firsts = _mm_mul_ps(scale, _mm_cvtepi32_ps(first));
    const __m128 seconds = _mm_mul_ps(scale, _mm_cvtepi32_ps(second));
    float* to = q.half_sums + 2 * group;
    _mm_storeu_ps(to, _mm_unpacklo_ps(firsts, seconds));
    _mm_storeu_ps(to + 4, _mm_unpackhi_ps(firsts, seconds));
  }
}

/// QmmKernels::quantize from what quantizes four groups, (x, q, first group),
/// and what quantizes one.
template <auto kQuantizeFour, auto kQuantizeGroup>
void quantize_in_fours(
    const float* x,
    int token_begin,
    int token_end,
    const QuantizedRows& q) {
  const auto groups = static_cast<std::size_t>(q.cols / kGroup);
  const std::size_t end = static_cast<std::size_t>(token_end) * groups;
  auto g = static_cast<std::size_t>(token_begin) * groups;
  for (; g + kFourGroups <= end; g += kFourGroups) {
    kQuantizeFour(x + g * kGroup, q, g);
  }
  quantize_group_range<kQuantizeGroup>(x, g, end, q);
}

}  // namespace

}  // namespace roofline
