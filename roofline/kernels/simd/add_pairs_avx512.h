// The inner loop of products in bfloat16 with AVX-512's vdpbf16ps. Included by
// files compiled for AVX-512 that ask the processor for bf16 themselves.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/simd/avx512_intrinsics.h"

namespace roofline {
namespace {

/// sums += a · b, ROWS rows of pairs (two bfloat16, the first one low) times
/// VECS vectors of columns.
template <int ROWS, int VECS>
__attribute__((target("avx512bf16"))) inline void add_pairs(
    const std::uint32_t* a,
    std::ptrdiff_t lda,
    const std::uint32_t* b,
    std::ptrdiff_t ldb,
    int pairs,
    __m512 (*sums)[VECS]) {
  constexpr int kWidth = 16;
  for (int p = 0; p < pairs; ++p, b += ldb) {
    __m512i row[VECS];
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      row[v] = _mm512_loadu_si512(b + v * kWidth);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const __m512i factor =
          _mm512_set1_epi32(static_cast<int>(a[r * lda + p]));
#pragma GCC unroll 4
      for (int v = 0; v < VECS; ++v) {
        sums[r][v] =
            _mm512_dpbf16_ps(sums[r][v], (__m512bh)factor, (__m512bh)row[v]);
      }
    }
  }
}

}  // namespace
}  // namespace roofline
