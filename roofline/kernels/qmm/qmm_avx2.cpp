// AVX2 without VNNI: a row block is done in two halves of 8 rows. vpmaddubsw
// adds two products of codes in 16 bits:
//   q4      codes up to 15 times 127, so a whole group's eight pairs still fit
//           (30,480) and are widened once;
//   others  values less 128 become signed; |w| times sign(x, w) gives at most
//           32,512, so each pair is widened at once, and the bias takes the
//           128 back.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/quantize_avx2.h"
#include "roofline/kernels/qmm/trim_rows.h"

namespace roofline {

namespace {

constexpr int kHalf = 8;        ///< rows a register
constexpr int kMostTokens = 4;  ///< sums, 16-bit sums and codes in 16 registers
constexpr int kMostExact = 8;

/// Up to so many tokens are bound by memory: the stream is asked for so far
/// ahead, across pages, where the hardware's own prefetch stops.
constexpr int kFewTokens = 4;
constexpr int kAhead = 8192;

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

inline __m256i load_line(const std::byte* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

inline __m256 load_halves(const std::byte* from) {
  return _mm256_cvtph_ps(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

/// The biases of the set whose scales are at `from`.
inline __m256 load_bias(
    const BlockGroups& groups,
    const std::byte* from,
    __m256 scale) {
  return groups.biases
             ? load_halves(from + kSetScales)
             : _mm256_mul_ps(scale, _mm256_set1_ps(groups.minus_offset));
}

inline void prefetch_soon(const std::byte* at) {
  _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0);
}

/// Asks for what is read kAhead bytes later: a group's codes and its unit's
/// scales.
template <PackedFormat kFormat>
inline void ask_ahead(const Tile& tile, const std::byte* codes, int group) {
  const std::byte* scales = tile.block.unit(group) + kAhead;
  for (int i = 0; i < scale_sets(kFormat); ++i) {
    prefetch_soon(scales + 64 * i);
  }
  for (int i = 0; i < code_bytes(kFormat); i += 64) {
    prefetch_soon(codes + kAhead + i);
  }
}

inline __m256i broadcast4(const std::int8_t* from) {
  std::int32_t four = 0;
  std::memcpy(&four, from, sizeof(four));
  return _mm256_set1_epi32(four);
}

/// dots += factor · Σ (w − 128)·x over four columns; w: values in bytes.
template <int kTokens>
inline void add_signed(
    __m256i values,
    const std::int8_t* x,
    std::ptrdiff_t stride,
    __m256i factor,
    __m256i* dots) {
  const __m256i w =
      _mm256_xor_si256(values, _mm256_set1_epi8(static_cast<char>(0x80)));
  const __m256i magnitude = _mm256_abs_epi8(w);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m256i four = broadcast4(x + t * stride);
    const __m256i pairs =
        _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(four, w));
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
  // Unrolled, gcc would gather all products first and spill them.
#pragma GCC unroll 1
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
  } else if constexpr (has_table(kFormat)) {
    const __m256i nibble = _mm256_set1_epi8(0x0f);
#pragma GCC unroll 1
    for (int i = 0; i < kCols / 8; ++i) {
      const __m256i line = load_line(stream + 64 * i);
      const __m256i low =
          _mm256_shuffle_epi8(table, _mm256_and_si256(line, nibble));
      const __m256i high = _mm256_shuffle_epi8(
          table,
          _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble));
      add_signed<kTokens>(low, x + 8 * i, stride, factor, dots);
      add_signed<kTokens>(high, x + 8 * i + 4, stride, factor, dots);
    }
  } else {
#pragma GCC unroll 1
    for (int i = 0; i < kCols / 4; ++i) {
      const __m256i line = load_line(stream + 64 * i);
      add_signed<kTokens>(line, x + 4 * i, stride, factor, dots);
    }
  }
}

/// Whether one of the tokens has high codes in a group.
template <int kTokens>
inline bool any_high(const std::uint8_t* high, std::ptrdiff_t groups) {
  unsigned any = 0;
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    any |= high[t * groups];
  }
  return any != 0;
}

template <PackedFormat kFormat, int kTokens>
void fast_tile(const Tile& tile, const QuantizedRows& x, int token) {
  const __m256i high_unit = _mm256_set1_epi16(kHighUnit);
  const __m256i one = _mm256_set1_epi16(1);
  const std::ptrdiff_t stride = std::ptrdiff_t{kPlanes} * x.cols;
  const std::ptrdiff_t groups = tile.groups;
  const std::int8_t* codes = x.codes + token * stride;
  const float* scales = x.scales + token * groups;
  constexpr int kSets = scale_sets(kFormat);
  constexpr int kSetCols = kGroup / kSets;
  const float* sums =
      (kSets == 1 ? x.sums : x.half_sums) + token * groups * kSets;
  const std::uint8_t* high = x.high ? x.high + token * groups : nullptr;
  __m256 y[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    y[t] = _mm256_setzero_ps();
  }
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g) + tile.codes_at;
    if (tile.ahead) {
      ask_ahead<kFormat>(tile, stream, g);
    }
    const bool has_high =
        high == nullptr || any_high<kTokens>(high + g, groups);
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      __m256i dots[kTokens];
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        dots[t] = _mm256_setzero_si256();
      }
      const std::byte* lines = stream + set * (code_bytes(kFormat) / kSets);
      const std::int8_t* plane = codes + set * kSetCols;
      if (has_high) {
        add_dots<kFormat, kTokens>(
            lines,
            tile.table,
            plane,
            stride,
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

/// A line's values in bytes: of eight columns, or in 8 bits of four.
template <PackedFormat kFormat>
struct ExactLine {
  ExactLine(const std::byte* from, __m256i table)
      : low(load_line(from)), high(low) {
    if constexpr (has_nibbles(kFormat)) {
      const __m256i nibble = _mm256_set1_epi8(0x0f);
      high = _mm256_and_si256(_mm256_srli_epi16(low, 4), nibble);
      low = _mm256_and_si256(low, nibble);
    }
    if constexpr (has_table(kFormat)) {
      high = _mm256_shuffle_epi8(table, high);
      low = _mm256_shuffle_epi8(table, low);
    }
  }
  __m256i low;
  __m256i high;
};

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
      const ExactLine<kFormat> bytes(stream + 64 * line, tile.table);
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

template <PackedFormat kFormat, int... kCounts>
constexpr std::array<FastTile, sizeof...(kCounts)> fast_tiles(
    std::integer_sequence<int, kCounts...>) {
  return {fast_tile<kFormat, kCounts + 1>...};
}

template <PackedFormat kFormat, int... kCounts>
constexpr std::array<ExactTile, sizeof...(kCounts)> exact_tiles(
    std::integer_sequence<int, kCounts...>) {
  return {exact_tile<kFormat, kCounts + 1>...};
}

__m256i first_lanes(int count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes);
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
  for (int block = block_begin; block < block_end; ++block) {
    for (int token = token_begin; token < token_end; token += most) {
      const int tokens = std::min(most, token_end - token);
      for (int half = 0; half < 2; ++half) {
        const int first = block * kRowBlock + half * kHalf;
        if (first >= w.rows) {
          break;
        }
        const Tile tile{
            w.block_groups(block),
            32 * half,
            kSetScales / 2 * half,
            w.groups(),
            w.unit,
            _mm256_broadcastsi128_si256(_mm_loadu_si128(
                reinterpret_cast<const __m128i*>(w.table.data()))),
            first_lanes(w.rows - first),
            half == 0 && token_end - token_begin <= kFewTokens,
            y + first,
            ldy};
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
  using Counts = std::make_integer_sequence<int, kMostTokens>;
  static constexpr auto kTiles = by_format(
      []<PackedFormat kFormat>() { return fast_tiles<kFormat>(Counts{}); });
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
