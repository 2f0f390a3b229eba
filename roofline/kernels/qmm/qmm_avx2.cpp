// AVX2 without VNNI: a row block is done in two halves of 8 rows, one after the
// other, or at once for a single token (one_token_avx2.h). vpmaddubsw adds two
// products of codes in 16 bits:
//   q4      codes up to 15 times 127, so a whole group's eight pairs still fit
//           (30,480) and are widened once;
//   others  values less 128 become signed; |w| times sign(x, w) gives at most
//           32,512, so each pair is widened at once, and the bias takes the
//           128 back.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>

#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/one_token_avx2.h"
#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/quantize_avx2.h"
#include "roofline/kernels/qmm/trim_rows.h"

namespace roofline {

namespace {

constexpr int kMostTokens = 4;  ///< sums, 16-bit sums and codes in 16 registers
constexpr int kMostExact = 8;

struct Tile {
  BlockGroups block;
  int codes_at;   ///< of the half's rows in a line
  int scales_at;  ///< in a set
  int groups;
  float unit;
  __m256i table;  ///< 16 bytes, twice
  __m256i rows;   ///< which of the 8 rows exist
  bool ahead;     ///< ask for the stream
  float* y;
  std::ptrdiff_t ldy;
};

/// dots += factor · Σ (w − 128)·x over four columns, in q4 factor · Σ w·x; w:
/// values in bytes.
template <PackedFormat kFormat, int kTokens>
inline void add_columns(
    __m256i values,
    const std::int8_t* x,
    std::ptrdiff_t stride,
    __m256i factor,
    __m256i* dots) {
  const SignedValues<kFormat> w(values);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m256i pairs = w.times(broadcast4(x + t * stride));
    dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs, factor));
  }
}

/// As below for q4, whose sums of a whole group fit in 16 bits.
template <int kTokens>
inline void add_nibbles(
    const std::byte* stream,
    const std::int8_t* x,
    std::ptrdiff_t stride,
    __m256i factor,
    __m256i* dots) {
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  __m256i pairs[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    pairs[t] = _mm256_setzero_si256();
  }
#pragma GCC unroll 4
  for (int i = 0; i < kGroup / 8; ++i) {
    const __m256i line = load_line(stream + 64 * i);
    const __m256i low = _mm256_and_si256(line, nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const std::int8_t* at = x + t * stride + 8 * i;
      const __m256i a = _mm256_maddubs_epi16(low, broadcast4(at));
      const __m256i b = _mm256_maddubs_epi16(high, broadcast4(at + 4));
      pairs[t] = _mm256_add_epi16(pairs[t], _mm256_add_epi16(a, b));
      // Line by line: gcc would gather all products first and spill them.
      __asm__ volatile("" : "+x"(pairs[t]));
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs[t], factor));
  }
}

/// dots += factor · Σ values·x over a group's columns, or over those of one set
/// of scales, for each of 8 rows and kTokens tokens; x: one plane of the first
/// token's codes of these columns. stream: where they begin.
template <PackedFormat kFormat, int kTokens>
inline void add_dots(
    const std::byte* stream,
    __m256i table,
    const std::int8_t* x,
    std::ptrdiff_t stride,
    __m256i factor,
    __m256i* dots) {
  constexpr int kCols = kGroup / scale_sets(kFormat);
  if constexpr (kFormat == PackedFormat::q4) {
    add_nibbles<kTokens>(stream, x, stride, factor, dots);
  } else {
    constexpr bool kNibbles = has_nibbles(kFormat);
    constexpr int kLineCols = kNibbles ? 8 : 4;
#pragma GCC unroll 1
    for (int i = 0; i < kCols / kLineCols; ++i) {
      const LineValues<kFormat> line(stream + 64 * i, table);
      const std::int8_t* at = x + kLineCols * i;
      add_columns<kFormat, kTokens>(line.low, at, stride, factor, dots);
      if constexpr (kNibbles) {
        add_columns<kFormat, kTokens>(line.high, at + 4, stride, factor, dots);
      }
    }
  }
}

/// The same over the columns 4i…4i+3 whose bits i are set.
template <PackedFormat kFormat, int kTokens>
inline void add_some(
    const std::byte* stream,
    __m256i table,
    const std::int8_t* x,
    std::ptrdiff_t stride,
    unsigned bits,
    __m256i factor,
    __m256i* dots) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  for (; bits != 0; bits &= bits - 1) {
    const int i = std::countr_zero(bits);
    const LineValues<kFormat> line(stream + 64 * (kNibbles ? i / 2 : i), table);
    const __m256i values = kNibbles && i % 2 != 0 ? line.high : line.low;
    add_columns<kFormat, kTokens>(values, x + 4 * i, stride, factor, dots);
  }
}

/// Where one of the tokens has high codes in a group.
template <int kTokens>
inline unsigned any_high(const std::uint8_t* high, std::ptrdiff_t groups) {
  unsigned any = 0;
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    any |= high[t * groups];
  }
  return any;
}

/// TRIMMED: x.high is there.
template <PackedFormat kFormat, int kTokens, bool TRIMMED>
void fast_tile(const Tile& tile, const QuantizedRows& x, int token) {
  const __m256i high_unit = _mm256_set1_epi16(kHighUnit);
  const __m256i one = _mm256_set1_epi16(1);
  const std::ptrdiff_t stride = std::ptrdiff_t{kPlanes} * x.cols;
  const std::ptrdiff_t groups = tile.groups;
  const std::int8_t* codes = x.codes + token * stride;
  const float* scales = x.scales + token * groups;
  constexpr int kSets = scale_sets(kFormat);
  constexpr int kSetCols = kGroup / kSets;
  constexpr int kBits = kSetCols / 4;
  constexpr unsigned kAllBits = (1u << kBits) - 1;
  const float* sums =
      (kSets == 1 ? x.sums : x.half_sums) + token * groups * kSets;
  const std::uint8_t* high = TRIMMED ? x.high + token * groups : nullptr;
  __m256 y[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    y[t] = _mm256_setzero_ps();
  }
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g) + tile.codes_at;
    if (tile.ahead) {
      ask_ahead<kFormat>(tile.block, stream, g);
    }
    const unsigned group_bits =
        TRIMMED ? any_high<kTokens>(high + g, groups) : 0xffu;
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      __m256i dots[kTokens];
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        dots[t] = _mm256_setzero_si256();
      }
      const std::byte* lines = stream + set * (code_bytes(kFormat) / kSets);
      const std::int8_t* plane = codes + set * kSetCols;
      const unsigned bits = group_bits >> (kBits * set) & kAllBits;
      if (!TRIMMED || bits == kAllBits) {
        add_dots<kFormat, kTokens>(
            lines,
            tile.table,
            plane,
            stride,
            high_unit,
            dots);
      } else {
        add_some<kFormat, kTokens>(
            lines,
            tile.table,
            plane,
            stride,
            bits,
            high_unit,
            dots);
      }
      add_dots<kFormat, kTokens>(
          lines,
          tile.table,
          plane + kGroup,
          stride,
          one,
          dots);
      const std::byte* own = tile.block.scales(g, set) + tile.scales_at;
      const __m256 scale = load_halves(own);
      __m256 bias = load_bias(tile.block, own, scale);
      if constexpr (kFormat != PackedFormat::q4) {
        bias = _mm256_fmadd_ps(scale, _mm256_set1_ps(128.0f), bias);
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256 factor =
            _mm256_mul_ps(scale, _mm256_set1_ps(scales[t * groups]));
        y[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[t]), factor, y[t]);
        y[t] = _mm256_fmadd_ps(
            bias,
            _mm256_set1_ps(sums[t * groups * kSets + set]),
            y[t]);
      }
    }
    codes += kPlanes * kGroup;
    ++scales;
    sums += kSets;
  }
  const __m256 unit = _mm256_set1_ps(tile.unit);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    _mm256_maskstore_ps(
        tile.y + (token + t) * tile.ldy,
        tile.rows,
        _mm256_mul_ps(y[t], unit));
  }
}

template <PackedFormat kFormat, int kTokens>
void exact_tile(const Tile& tile, const float* x, int token) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  constexpr int kLineCodes = kNibbles ? 8 : 4;
  constexpr int kSetLines = kGroup / kLineCodes / scale_sets(kFormat);
  const std::ptrdiff_t cols = std::ptrdiff_t{tile.groups} * kGroup;
  const __m256i mask = _mm256_set1_epi32(0xff);
  x += token * cols;
  __m256 y[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    y[t] = _mm256_setzero_ps();
  }
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g) + tile.codes_at;
    for (int line = 0; line < kGroup / kLineCodes; ++line) {
      const std::byte* own =
          tile.block.scales(g, line / kSetLines) + tile.scales_at;
      const __m256 scale = load_halves(own);
      const __m256 bias = load_bias(tile.block, own, scale);
      const LineValues<kFormat> bytes(stream + 64 * line, tile.table);
#pragma GCC unroll 8
      for (int c = 0; c < kLineCodes; ++c) {
        const __m256i code = _mm256_and_si256(
            _mm256_srli_epi32(c < 4 ? bytes.low : bytes.high, 8 * (c % 4)),
            mask);
        const __m256 w = _mm256_fmadd_ps(_mm256_cvtepi32_ps(code), scale, bias);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          y[t] = _mm256_fmadd_ps(w, _mm256_set1_ps(x[t * cols + c]), y[t]);
        }
      }
      x += kLineCodes;
    }
  }
  const __m256 unit = _mm256_set1_ps(tile.unit);
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    _mm256_maskstore_ps(
        tile.y + (token + t) * tile.ldy,
        tile.rows,
        _mm256_mul_ps(y[t], unit));
  }
}

using FastTile = void (*)(const Tile&, const QuantizedRows&, int);
using ExactTile = void (*)(const Tile&, const float*, int);

template <PackedFormat kFormat, bool TRIMMED, int... kCounts>
constexpr std::array<FastTile, sizeof...(kCounts)> fast_tiles(
    std::integer_sequence<int, kCounts...>) {
  return {fast_tile<kFormat, kCounts + 1, TRIMMED>...};
}

template <PackedFormat kFormat, int... kCounts>
constexpr std::array<ExactTile, sizeof...(kCounts)> exact_tiles(
    std::integer_sequence<int, kCounts...>) {
  return {exact_tile<kFormat, kCounts + 1>...};
}

template <class Tiles, class X>
void product(
    const Tiles& tiles,
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const X& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const int most = static_cast<int>(tiles.size());
  Tile tile{};
  tile.groups = w.groups();
  tile.unit = w.unit;
  tile.table = load_table(w);
  tile.ldy = ldy;
  for (int block = block_begin; block < block_end; ++block) {
    tile.block = w.block_groups(block);
    for (int token = token_begin; token < token_end; token += most) {
      const int tokens = std::min(most, token_end - token);
      for (int half = 0; half < 2; ++half) {
        const int first = block * kRowBlock + half * kHalf;
        if (first >= w.rows) {
          break;
        }
        tile.codes_at = 32 * half;
        tile.scales_at = kSetScales / 2 * half;
        tile.rows = first_lanes(w.rows - first);
        tile.ahead = half == 0 && token_end - token_begin <= kFewTokens;
        tile.y = y + first;
        tiles[static_cast<std::size_t>(tokens - 1)](tile, x, token);
      }
    }
  }
}

void fast(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  if (token_end - token_begin == 1) {
    one_token(w, block_begin, block_end, x, token_begin, y, ldy);
    return;
  }
  using Counts = std::make_integer_sequence<int, kMostTokens>;
  static constexpr auto kTiles = by_format([]<PackedFormat kFormat>() {
    return std::array{
        fast_tiles<kFormat, false>(Counts{}),
        fast_tiles<kFormat, true>(Counts{})};
  });
  const std::size_t trimmed = x.high != nullptr ? 1 : 0;
  product(
      kTiles[format_index(w.format)][trimmed],
      w,
      block_begin,
      block_end,
      x,
      token_begin,
      token_end,
      y,
      ldy);
}

void exact(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const float* x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  using Counts = std::make_integer_sequence<int, kMostExact>;
  static constexpr auto kTiles = by_format(
      []<PackedFormat kFormat>() { return exact_tiles<kFormat>(Counts{}); });
  product(
      kTiles[format_index(w.format)],
      w,
      block_begin,
      block_end,
      x,
      token_begin,
      token_end,
      y,
      ldy);
}

}  // namespace

const QmmKernels& qmm_avx2() {
  static constexpr QmmKernels kKernels{
      "avx2",
      quantize_groups<quantize_group>,
      fast,
      exact,
      trim_rows<PortableGroups>,
      true};
  return kKernels;
}

}  // namespace roofline
