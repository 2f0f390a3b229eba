// A tile's sums on AVX2 while they wait in memory: registers are for the
// integer ones. Included by the tiles' headers.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "roofline/kernels/qmm/codes_avx2.h"

namespace roofline {

namespace {

/// gcc would hold them in registers from one group to the next.
inline void stay_in_memory(const float (*y)[kRowBlock]) {
  __asm__ volatile("" : : "r"(y) : "memory");
}

template <int kTokens>
inline void clear_sums(float (*y)[kRowBlock]) {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    _mm256_store_ps(y[t], _mm256_setzero_ps());
    _mm256_store_ps(y[t] + kHalf, _mm256_setzero_ps());
  }
  stay_in_memory(y);
}

/// Sums times factor(token) into tile.y, of the rows that exist.
template <int kTokens, class Tile, class Factor>
inline void write_sums(
    const Tile& tile,
    const float (*y)[kRowBlock],
    Factor factor) {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m256 own = _mm256_set1_ps(factor(t));
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      _mm256_maskstore_ps(
          tile.y + t * tile.ldy + kHalf * h,
          tile.rows[h],
          _mm256_mul_ps(_mm256_load_ps(y[t] + kHalf * h), own));
    }
  }
}

}  // namespace

}  // namespace roofline
