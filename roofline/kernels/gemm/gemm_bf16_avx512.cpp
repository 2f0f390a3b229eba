#include <algorithm>

#include "roofline/kernels/gemm/gemm_bf16.h"
#include "roofline/kernels/simd/add_pairs_avx512.h"
#include "roofline/kernels/simd/avx512_intrinsics.h"

// Beyond what files of this name are compiled for; gemm.cpp asks the processor.
#define ROOFLINE_BF16 __attribute__((target("avx512bf16")))

namespace roofline {

namespace {

constexpr int kWidth = 16;

ROOFLINE_BF16 inline __m512i rounded(__m512 values) {
  return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(values));
}

ROOFLINE_BF16 void round_row(const float* x, int n, std::uint32_t* out) {
  auto* to = reinterpret_cast<std::uint16_t*>(out);
  for (int i = 0; i < n; i += kWidth) {
    const int left = std::min(kWidth, n - i);
    const auto mask = static_cast<__mmask16>((1u << left) - 1);
    const auto halves =
        (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i));
    _mm256_mask_storeu_epi16(to + i, mask, halves);
  }
  if (n % 2 != 0) {
    to[n] = 0;
  }
}

ROOFLINE_BF16 void round_panel(
    const float* rows,
    int depth,
    int panel,
    std::uint32_t* out) {
  for (int k = 0; k < depth; k += 2) {
    const float* low = rows + static_cast<std::ptrdiff_t>(k) * panel;
    for (int c = 0; c < panel; c += kWidth) {
      __m512i pairs = rounded(_mm512_loadu_ps(low + c));
      if (k + 1 < depth) {
        const __m512i high = rounded(_mm512_loadu_ps(low + panel + c));
        pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(high, 16));
      }
      _mm512_storeu_si512(
          out + static_cast<std::ptrdiff_t>(k / 2) * panel + c,
          pairs);
    }
  }
}

template <int ROWS, int VECS>
ROOFLINE_BF16 void tile_of(const PairProduct& t) {
  const int left = t.columns - (VECS - 1) * kWidth;
  const auto last = static_cast<__mmask16>((1u << left) - 1);
  __m512 sums[ROWS][VECS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      sums[r][v] = _mm512_setzero_ps();
    }
  }
  add_pairs<ROWS, VECS>(t.a, t.lda, t.b, t.ldb, t.pairs, sums);
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    float* c = t.c + r * t.ldc;
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v, c += kWidth) {
      const __mmask16 mask = v + 1 < VECS ? __mmask16(0xffff) : last;
      if (t.accumulate) {
        sums[r][v] = _mm512_add_ps(sums[r][v], _mm512_maskz_loadu_ps(mask, c));
      }
      _mm512_mask_storeu_ps(c, mask, sums[r][v]);
    }
  }
}

template <int VECS>
ROOFLINE_BF16 void rows_of(PairProduct t) {
  constexpr int kRows = 6;
  for (; t.rows >= kRows; t = t.after_rows(kRows)) {
    tile_of<kRows, VECS>(t);
  }
  for (; t.rows >= 2; t = t.after_rows(2)) {
    tile_of<2, VECS>(t);
  }
  if (t.rows > 0) {
    tile_of<1, VECS>(t);
  }
}

ROOFLINE_BF16 void tile(const PairProduct& product) {
  switch ((product.columns + kWidth - 1) / kWidth) {
    case 1:
      return rows_of<1>(product);
    case 2:
      return rows_of<2>(product);
    case 3:
      return rows_of<3>(product);
    default:
      return rows_of<4>(product);
  }
}

}  // namespace

const GemmBf16Kernels& gemm_bf16_avx512() {
  static constexpr GemmBf16Kernels kernels{round_row, round_panel, tile};
  return kernels;
}

}  // namespace roofline
