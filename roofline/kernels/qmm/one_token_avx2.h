// One token's product, bound by reading the weights: both halves of a row block
// and both planes of x at once, so that a line is read and unpacked once. In q4
// planes are multiplied as bytes: a whole group's products fit in 16 bits. In
// the other formats both planes are one number of 16 bits, and so are values.
// Included by qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/found_tokens_avx2.h"
#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/quantize_avx2.h"

namespace roofline {

namespace {

/// What the other kernels take from values to make them signed bytes. Here it
/// is part of what sums start with, so that all give the same.
constexpr int kSignOffset = 128;

/// Row blocks that are read at a time, far from each other: on a Zen 3 more
/// lines are under way then than of a single stream. Each is asked for so far
/// ahead, and there are so many bytes at least.
constexpr int kStreams = 3;
constexpr int kStreamsAhead = 2048;
constexpr std::ptrdiff_t kLeastStreamed = 128 * 1024;

/// A token's codes, as its format reads them.
struct TokenCodes {
  const std::int8_t* planes;   ///< QuantizedRows::codes; read in q4
  const std::int16_t* words;   ///< [cols]: of columns 4i…4i+3 0, 2, 1, 3
  const std::int32_t* starts;  ///< [sets]: what a set's sums start with
};

/// Both planes' pairs as one sum of codes.
inline __m256i joined(__m256i high, __m256i low) {
  return _mm256_add_epi32(
      _mm256_madd_epi16(high, _mm256_set1_epi16(kHighUnit)),
      _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
}

/// The codes of 16 columns from a group's planes.
inline __m256i words_of(const std::int8_t* high, const std::int8_t* low) {
  const auto widened = [](const std::int8_t* from) {
    return _mm256_cvtepi8_epi16(
        _mm_load_si128(reinterpret_cast<const __m128i*>(from)));
  };
  static_assert(kHighUnit == 1 << 7);
  return _mm256_add_epi16(_mm256_slli_epi16(widened(high), 7), widened(low));
}

/// Memory for TokenCodes; a thread's own. What follows `found` is of its
/// tokens.
struct WordMemory {
  FoundTokens found;
  AlignedBuffer<std::int16_t> words;
  AlignedBuffer<std::int32_t> starts;
};

/// A token's words, and what its sets' sums start with.
inline void find_words(
    const std::int8_t* planes,
    int groups,
    int sets,
    std::int16_t* words,
    std::int32_t* starts) {
  constexpr int kWide = 16;
  const __m256i even_first = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
  for (int g = 0; g < groups; ++g) {
    const std::int8_t* own = planes + std::ptrdiff_t{g} * kPlanes * kGroup;
    std::int32_t sums[2];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i codes =
          words_of(own + kWide * half, own + kGroup + kWide * half);
      _mm256_store_si256(
          reinterpret_cast<__m256i*>(words + kGroup * g + kWide * half),
          _mm256_shuffle_epi8(codes, even_first));
      sums[half] = -kSignOffset *
                   reduce_add(_mm256_madd_epi16(codes, _mm256_set1_epi16(1)));
    }
    if (sets == 1) {
      starts[g] = sums[0] + sums[1];
    } else {
      starts[2 * g] = sums[0];
      starts[2 * g + 1] = sums[1];
    }
  }
}

/// The codes of tokens [begin, end), which follow each other. sets: of scales
/// in a group.
inline TokenCodes token_codes(
    const QuantizedRows& x,
    int begin,
    int end,
    int sets) {
  thread_local WordMemory memory;
  const std::ptrdiff_t groups = x.cols / kGroup;
  const std::int8_t* planes = x.codes + begin * groups * kPlanes * kGroup;
  FoundTokens asked(x, begin, end - begin);
  asked.sums = sets;
  if (!is_found(memory.found, asked)) {
    const auto count = static_cast<std::size_t>((end - begin) * groups);
    memory.words.grow(count * kGroup);
    memory.starts.grow(count * 2);
    for (std::ptrdiff_t t = 0; t < end - begin; ++t) {
      find_words(
          planes + t * groups * kPlanes * kGroup,
          static_cast<int>(groups),
          sets,
          memory.words.data() + t * groups * kGroup,
          memory.starts.data() + t * groups * sets);
    }
  }
  return {planes, memory.words.data(), memory.starts.data()};
}

/// dots[half] = Σ codes·x of a group in q4.
inline void nibble_dots(
    const std::byte* lines,
    const std::int8_t* planes,
    __m256i* dots) {
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  __m256i high[kHalves];
  __m256i low[kHalves];
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
    high[h] = _mm256_setzero_si256();
    low[h] = high[h];
  }
#pragma GCC unroll 4
  for (int i = 0; i < kGroup / 8; ++i) {
    const std::int8_t* at = planes + 8 * i;
    const __m256i first_high = broadcast4(at);
    const __m256i first_low = broadcast4(at + kGroup);
    const __m256i second_high = broadcast4(at + 4);
    const __m256i second_low = broadcast4(at + 4 + kGroup);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const __m256i line = load_line(lines + 64 * i + 32 * h);
      const __m256i first = _mm256_and_si256(line, nibble);
      const __m256i second =
          _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble);
      const auto both = [&](__m256i four, __m256i next) {
        return _mm256_add_epi16(
            _mm256_maddubs_epi16(first, four),
            _mm256_maddubs_epi16(second, next));
      };
      high[h] = _mm256_add_epi16(high[h], both(first_high, second_high));
      low[h] = _mm256_add_epi16(low[h], both(first_low, second_low));
      // Line by line: gcc would gather all products first and spill them.
      __asm__ volatile("" : "+x"(high[h]), "+x"(low[h]));
    }
  }
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
    dots[h] = joined(high[h], low[h]);
  }
}

/// dots[half] = start + Σ values·x over the columns of a set.
template <PackedFormat kFormat>
inline void word_dots(
    const std::byte* lines,
    __m256i table,
    const std::int16_t* words,
    std::int32_t start,
    __m256i* dots) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  constexpr int kLineCols = kNibbles ? 8 : 4;
  constexpr int kLines = kGroup / scale_sets(kFormat) / kLineCols;
  const __m256i byte = _mm256_set1_epi16(0xff);
#pragma GCC unroll 2
  for (int h = 0; h < kHalves; ++h) {
    dots[h] = _mm256_set1_epi32(start);
  }
  const auto add =
      [&](__m256i& dot, __m256i values, __m256i even, __m256i odd) {
        dot = _mm256_add_epi32(
            dot,
            _mm256_add_epi32(
                _mm256_madd_epi16(_mm256_and_si256(values, byte), even),
                _mm256_madd_epi16(_mm256_srli_epi16(values, 8), odd)));
        __asm__ volatile("" : "+x"(dot));  // as above
      };
  const auto pair = [](const std::int16_t* from) {
    return broadcast4(reinterpret_cast<const std::int8_t*>(from));
  };
#pragma GCC unroll 8
  for (int i = 0; i < kLines; ++i) {
    const std::int16_t* at = words + kLineCols * i;
    const __m256i even = pair(at);
    const __m256i odd = pair(at + 2);
    const __m256i next_even = kNibbles ? pair(at + 4) : even;
    const __m256i next_odd = kNibbles ? pair(at + 6) : odd;
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const LineValues<kFormat> values(lines + 64 * i + 32 * h, table);
      add(dots[h], values.low, even, odd);
      if constexpr (kNibbles) {
        add(dots[h], values.high, next_even, next_odd);
      }
    }
  }
}

/// A token as one_token_blocks reads it.
struct Token {
  TokenCodes codes;
  const float* scales;  ///< [groups]
  const float* sums;    ///< [sets]
};

/// total[half] += a group of a row block times the token; stream: its codes,
/// sets: its scales.
template <PackedFormat kFormat>
inline void add_group(
    const BlockGroups& block,
    const std::byte* stream,
    const std::byte* sets,
    __m256i table,
    const Token& x,
    std::ptrdiff_t g,
    __m256* total) {
  constexpr int kSets = scale_sets(kFormat);
#pragma GCC unroll 2
  for (int set = 0; set < kSets; ++set) {
    __m256i dots[kHalves];
    if constexpr (kFormat == PackedFormat::q4) {
      nibble_dots(stream, x.codes.planes + kPlanes * kGroup * g, dots);
    } else {
      word_dots<kFormat>(
          stream + set * (code_bytes(kFormat) / kSets),
          table,
          x.codes.words + kGroup * g + set * (kGroup / kSets),
          x.codes.starts[g * kSets + set],
          dots);
    }
    const __m256 own = _mm256_set1_ps(x.scales[g]);
    const __m256 sum = _mm256_set1_ps(x.sums[g * kSets + set]);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const std::byte* at =
          sets + set * block.set_bytes + kSetScales / kHalves * h;
      const __m256 scale = load_halves(at);
      __m256 bias = load_bias(block, at, scale);
      if constexpr (kFormat != PackedFormat::q4) {
        bias = _mm256_fmadd_ps(scale, _mm256_set1_ps(kSignOffset), bias);
      }
      total[h] = _mm256_fmadd_ps(
          _mm256_cvtepi32_ps(dots[h]),
          _mm256_mul_ps(scale, own),
          total[h]);
      total[h] = _mm256_fmadd_ps(bias, sum, total[h]);
    }
  }
}

/// A matrix and what is found out once about its row blocks: with divisions,
/// which for each of them took a twentieth of a step.
struct OneTokenMatrix {
  const PackedMatrix& w;
  BlockGroups first;
  std::ptrdiff_t block_bytes;
};

/// y[…] = kStreams row blocks, each `apart` from the one before, times the
/// token.
template <PackedFormat kFormat, int kStreams>
void one_token_blocks(
    const OneTokenMatrix& m,
    int first_block,
    int apart,
    const Token& x,
    float* y) {
  constexpr int kAskAhead = kStreams == 1 ? kAhead : kStreamsAhead;
  const PackedMatrix& w = m.w;
  const BlockGroups& block = m.first;
  const std::ptrdiff_t stride = apart * m.block_bytes;
  const std::ptrdiff_t count = w.groups();
  const std::ptrdiff_t unit_groups = std::ptrdiff_t{1} << block.unit_shift;
  const __m256i table = load_table(w);
  const std::byte* unit = block.first + first_block * m.block_bytes;
  __m256 total[kStreams][kHalves];
#pragma GCC unroll 4
  for (int s = 0; s < kStreams; ++s) {
    total[s][0] = _mm256_setzero_ps();
    total[s][1] = _mm256_setzero_ps();
  }
  for (std::ptrdiff_t first = 0; first < count; first += unit_groups) {
    const std::byte* stream = unit + block.unit_scales;
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      prefetch_lines(unit + s * stride + kAskAhead, block.unit_scales);
    }
    const std::ptrdiff_t end = std::min(count, first + unit_groups);
    for (std::ptrdiff_t g = first; g < end; ++g) {
      const std::byte* sets =
          unit + ((g - first) >> block.set_shift) * block.set_bytes;
#pragma GCC unroll 4
      for (int s = 0; s < kStreams; ++s) {
        const std::byte* own = stream + s * stride;
        prefetch_lines(own + kAskAhead, code_bytes(kFormat));
        add_group<kFormat>(
            block,
            own,
            sets + s * stride,
            table,
            x,
            g,
            total[s]);
      }
      stream += code_bytes(kFormat);
    }
    unit += block.unit_bytes;
  }
#pragma GCC unroll 4
  for (int s = 0; s < kStreams; ++s) {
    const int row = (first_block + s * apart) * kRowBlock;
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      _mm256_maskstore_ps(
          y + row + kHalf * h,
          first_lanes(w.rows - row - kHalf * h),
          _mm256_mul_ps(total[s][h], _mm256_set1_ps(w.unit)));
    }
  }
}

/// Row blocks [begin, end): as kStreams streams where there is much to read.
template <PackedFormat kFormat>
void one_token_range(
    const PackedMatrix& w,
    int begin,
    int end,
    const Token& x,
    float* y) {
  const OneTokenMatrix m{w, w.block_groups(0), w.block_bytes()};
  if ((end - begin) * m.block_bytes >= kLeastStreamed) {
    const int apart = (end - begin) / kStreams;
    for (int i = 0; i < apart; ++i) {
      one_token_blocks<kFormat, kStreams>(m, begin + i, apart, x, y);
    }
    begin += kStreams * apart;
  }
  for (int block = begin; block < end; ++block) {
    one_token_blocks<kFormat, 1>(m, block, 0, x, y);
  }
}

using OneTokenRange =
    void (*)(const PackedMatrix&, int, int, const Token&, float*);

void one_token(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token,
    float* y,
    int ldy) {
  static constexpr std::array<OneTokenRange, 5> kRanges =
      by_format([]<PackedFormat kFormat>() -> OneTokenRange {
        return one_token_range<kFormat>;
      });
  const std::ptrdiff_t groups = w.groups();
  const int sets = scale_sets(w.format);
  const std::int8_t* planes = x.codes + token * groups * kPlanes * kGroup;
  const Token own{
      w.format == PackedFormat::q4 ? TokenCodes{planes, nullptr, nullptr}
                                   : token_codes(x, token, token + 1, sets),
      x.scales + token * groups,
      (sets == 1 ? x.sums : x.half_sums) + token * groups * sets};
  kRanges[format_index(w.format)](
      w,
      block_begin,
      block_end,
      own,
      y + static_cast<std::ptrdiff_t>(token) * ldy);
}

}  // namespace

}  // namespace roofline
