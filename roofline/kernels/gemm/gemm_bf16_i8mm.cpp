// The bfloat16 products of Armv8.6, which has them beside i8mm: bfdot adds a
// pair of products into each of four sums.
#include <arm_neon.h>

#include <algorithm>
#include <cstring>

#include "roofline/kernels/gemm/gemm_bf16.h"

namespace roofline {

namespace {

constexpr int kWidth = 4;

/// Four floats as the bits of bfloat16.
inline uint16x4_t rounded(float32x4_t values) {
  return vreinterpret_u16_bf16(vcvt_bf16_f32(values));
}

inline float32x4_t load_some(const float* from, int count) {
  float copy[kWidth] = {};
  std::copy_n(from, count, copy);
  return vld1q_f32(copy);
}

void round_row(const float* x, int n, std::uint32_t* out) {
  auto* to = reinterpret_cast<std::uint16_t*>(out);
  int i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    vst1_u16(to + i, rounded(vld1q_f32(x + i)));
  }
  if (i < n) {
    std::uint16_t halves[kWidth];
    vst1_u16(halves, rounded(load_some(x + i, n - i)));
    std::copy_n(halves, n - i, to + i);
  }
  if (n % 2 != 0) {
    to[n] = 0;
  }
}

void round_panel(const float* rows, int depth, int panel, std::uint32_t* out) {
  for (int k = 0; k < depth; k += 2) {
    const float* low = rows + static_cast<std::ptrdiff_t>(k) * panel;
    for (int c = 0; c < panel; c += kWidth) {
      const uint16x4_t first = rounded(vld1q_f32(low + c));
      const uint16x4_t second =
          k + 1 < depth ? rounded(vld1q_f32(low + panel + c)) : vdup_n_u16(0);
      const uint32x4_t pairs =
          vorrq_u32(vmovl_u16(first), vshll_n_u16(second, 16));
      vst1q_u32(out + static_cast<std::ptrdiff_t>(k / 2) * panel + c, pairs);
    }
  }
}

template <int ROWS, int VECS>
inline void store_sums(const PairProduct& t, float32x4_t (&sums)[ROWS][VECS]) {
  for (int r = 0; r < ROWS; ++r) {
    float* c = t.c + r * t.ldc;
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v, c += kWidth) {
      const int count = v + 1 < VECS ? kWidth : t.columns - v * kWidth;
      float32x4_t sum = sums[r][v];
      if (t.accumulate) {
        sum = vaddq_f32(
            sum,
            count == kWidth ? vld1q_f32(c) : load_some(c, count));
      }
      if (count == kWidth) {
        vst1q_f32(c, sum);
      } else {
        float copy[kWidth];
        vst1q_f32(copy, sum);
        std::copy_n(copy, count, c);
      }
    }
  }
}

template <int ROWS, int VECS>
void tile_of(const PairProduct& t) {
  float32x4_t sums[ROWS][VECS] = {};
  const std::uint32_t* b = t.b;
  for (int k = 0; k < t.pairs; ++k, b += t.ldb) {
    bfloat16x8_t row[VECS];
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      row[v] = vreinterpretq_bf16_u32(vld1q_u32(b + v * kWidth));
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const bfloat16x8_t factor =
          vreinterpretq_bf16_u32(vdupq_n_u32(t.a[r * t.lda + k]));
#pragma GCC unroll 4
      for (int v = 0; v < VECS; ++v) {
        sums[r][v] = vbfdotq_f32(sums[r][v], row[v], factor);
      }
    }
  }
  store_sums(t, sums);
}

template <int VECS>
void rows_of(PairProduct t) {
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

void tile(const PairProduct& product) {
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

const GemmBf16Kernels& gemm_bf16_i8mm() {
  static constexpr GemmBf16Kernels kernels{round_row, round_panel, tile};
  return kernels;
}

}  // namespace roofline
