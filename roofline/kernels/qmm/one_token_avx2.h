// One token's product, bound by reading the weights: both halves of a row block
// and both planes of x at once, so that a line is read and unpacked once.
// Included by qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

namespace {

/// Four columns of a line times both planes; pairs: [half].
template <PackedFormat kFormat>
inline void multiply_planes(
    const __m256i* values,
    const std::int8_t* codes,
    __m256i* high,
    __m256i* low) {
  const __m256i four_high = broadcast4(codes);
  const __m256i four_low = broadcast4(codes + kGroup);
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
    const SignedValues<kFormat> w(values[h]);
    high[h] = w.times(four_high);
    low[h] = w.times(four_low);
  }
}

/// Both planes' pairs as one sum of codes.
inline __m256i joined(__m256i high, __m256i low) {
  return _mm256_add_epi32(
      _mm256_madd_epi16(high, _mm256_set1_epi16(kHighUnit)),
      _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
}

/// dots[half] = Σ values·x over the columns of a set, less 128 but in q4.
template <PackedFormat kFormat>
inline void set_dots(
    const std::byte* lines,
    __m256i table,
    const std::int8_t* codes,
    __m256i* dots) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  constexpr bool kAdds16 = kFormat == PackedFormat::q4;
  constexpr int kLineCols = kNibbles ? 8 : 4;
  constexpr int kLines = kGroup / scale_sets(kFormat) / kLineCols;
  __m256i sum_high[kHalves];
  __m256i sum_low[kHalves];
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
    dots[h] = _mm256_setzero_si256();
    sum_high[h] = dots[h];
    sum_low[h] = dots[h];
  }
  const auto add = [&](const __m256i* values, const std::int8_t* at) {
    __m256i high[kHalves];
    __m256i low[kHalves];
    multiply_planes<kFormat>(values, at, high, low);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      if constexpr (kAdds16) {
        // A whole group's eight pairs fit in 16 bits.
        sum_high[h] = _mm256_add_epi16(sum_high[h], high[h]);
        sum_low[h] = _mm256_add_epi16(sum_low[h], low[h]);
      } else {
        dots[h] = _mm256_add_epi32(dots[h], joined(high[h], low[h]));
      }
    }
  };
#pragma GCC unroll 4
  for (int i = 0; i < kLines; ++i) {
    const LineValues<kFormat> first(lines + 64 * i, table);
    const LineValues<kFormat> second(lines + 64 * i + 32, table);
    const __m256i low[kHalves] = {first.low, second.low};
    add(low, codes + kLineCols * i);
    if constexpr (kNibbles) {
      const __m256i high[kHalves] = {first.high, second.high};
      add(high, codes + kLineCols * i + 4);
    }
  }
  if constexpr (kAdds16) {
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      dots[h] = joined(sum_high[h], sum_low[h]);
    }
  }
}

/// y[16] = a row block times the token.
template <PackedFormat kFormat>
void one_token_block(
    const PackedMatrix& w,
    int block,
    const QuantizedRows& x,
    int token,
    float* y) {
  constexpr int kSets = scale_sets(kFormat);
  const BlockGroups groups = w.block_groups(block);
  const std::ptrdiff_t count = w.groups();
  const std::int8_t* codes = x.codes + token * count * kPlanes * kGroup;
  const float* scales = x.scales + token * count;
  const float* sums =
      (kSets == 1 ? x.sums : x.half_sums) + token * count * kSets;
  const __m256i table = load_table(w);
  __m256 total[kHalves] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int g = 0; g < count; ++g) {
    const std::byte* stream = groups.codes(g);
    ask_ahead<kFormat>(groups, stream, g);
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      __m256i dots[kHalves];
      set_dots<kFormat>(
          stream + set * (code_bytes(kFormat) / kSets),
          table,
          codes + set * (kGroup / kSets),
          dots);
      const __m256 own = _mm256_set1_ps(scales[g]);
      const __m256 sum = _mm256_set1_ps(sums[g * kSets + set]);
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        const std::byte* at = groups.scales(g, set) + kSetScales / 2 * h;
        const __m256 scale = load_halves(at);
        __m256 bias = load_bias(groups, at, scale);
        if constexpr (kFormat != PackedFormat::q4) {
          bias = _mm256_fmadd_ps(scale, _mm256_set1_ps(128.0f), bias);
        }
        total[h] = _mm256_fmadd_ps(
            _mm256_cvtepi32_ps(dots[h]),
            _mm256_mul_ps(scale, own),
            total[h]);
        total[h] = _mm256_fmadd_ps(bias, sum, total[h]);
      }
    }
    codes += kPlanes * kGroup;
  }
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
    _mm256_maskstore_ps(
        y + kHalf * h,
        first_lanes(w.rows - block * kRowBlock - kHalf * h),
        _mm256_mul_ps(total[h], _mm256_set1_ps(w.unit)));
  }
}

using OneTokenBlock =
    void (*)(const PackedMatrix&, int, const QuantizedRows&, int, float*);

void one_token(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token,
    float* y,
    int ldy) {
  static constexpr std::array<OneTokenBlock, 5> kBlocks =
      by_format([]<PackedFormat kFormat>() -> OneTokenBlock {
        return one_token_block<kFormat>;
      });
  const OneTokenBlock run = kBlocks[format_index(w.format)];
  for (int block = block_begin; block < block_end; ++block) {
    run(w,
        block,
        x,
        token,
        y + static_cast<std::ptrdiff_t>(token) * ldy + block * kRowBlock);
  }
}

}  // namespace

}  // namespace roofline
