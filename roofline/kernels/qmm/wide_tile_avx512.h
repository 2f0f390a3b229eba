// Products with many tokens. A tile is two row blocks, so that a broadcast of x
// serves 32 rows, times four to six tokens, whose sums stay in registers. High
// codes are multiplied four columns at a time, only where a token of the tile
// has some. Included by qmm_avx512.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/codes_avx512.h"
#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

namespace {

constexpr int kWideBlocks = 2;
constexpr int kLeastWide = 4;  ///< tokens: fewer leave vpdpbusd waiting
constexpr int kMostWide = 6;   ///< measured: more spill

/// Whether so many tokens can be cut into wide tiles: all but 1, 2, 3 and 7. A
/// product of 4 to 6 takes 6 to 11 % less in them than in tiles of one block.
constexpr bool fits_wide(int tokens) {
  return tokens >= kLeastWide && tokens != kMostWide + 1;
}

struct WideTile {
  BlockGroups block;    ///< the first of them
  std::ptrdiff_t next;  ///< bytes from the one block to the other
  int groups;
  float unit;
  __m512i table;        ///< 16 bytes, four times
  __mmask16 last_rows;  ///< of the second block
  int ahead;            ///< the first group whose successors two blocks on are
                        ///< asked for, and from there each ahead_step-th
  int ahead_step;
  /// [groups]: bit i is 1 where there are high codes in columns 4i…4i+3.
  const std::uint8_t* high;
  /// [tokens, groups]: what a group's integer sums start with, minus the offset
  /// times Σ xc; 0 where there are biases. Of the tokens of a call, from
  /// first_token.
  const std::int32_t* starts;
  int first_token;
  float* y;
  std::ptrdiff_t ldy;
};

/// dots[block][token] += Σ values·x over four columns. codes: the first
/// token's of these columns, in one plane.
template <int kTokens>
inline void add_columns(
    const __m512i* values,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    __m512i (*dots)[kTokens]) {
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    const __m512i four = broadcast4(codes + t * stride);
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
      dots[b][t] = _mm512_dpbusd_epi32(dots[b][t], values[b], four);
    }
  }
}

/// The same over the columns of one set of scales.
template <PackedFormat kFormat, int kTokens>
inline void add_plane(
    const WideTile& tile,
    const std::byte* lines,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    __m512i (*dots)[kTokens]) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  constexpr int kLineCols = kNibbles ? 8 : 4;
  constexpr int kCols = kGroup / scale_sets(kFormat);
#pragma GCC unroll 8
  for (int i = 0; i < kCols / kLineCols; ++i) {
    __m512i w[kWideBlocks];
    __m512i second[kWideBlocks];
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
      w[b] = _mm512_loadu_si512(lines + b * tile.next + 64 * i);
      if constexpr (kNibbles) {
        split_line<kFormat>(w[b], tile.table, w[b], second[b]);
      }
    }
    add_columns<kTokens>(w, codes + kLineCols * i, stride, dots);
    if constexpr (kNibbles) {
      add_columns<kTokens>(second, codes + kLineCols * i + 4, stride, dots);
    }
  }
}

/// The same over the columns whose bits are set in `high`.
template <PackedFormat kFormat, int kTokens>
inline void add_some(
    const WideTile& tile,
    const std::byte* lines,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    unsigned high,
    __m512i (*dots)[kTokens]) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  for (; high != 0; high &= high - 1) {
    const int i = std::countr_zero(high);
    const std::byte* line = lines + 64 * (kNibbles ? i / 2 : i);
    __m512i w[kWideBlocks];
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
      w[b] = _mm512_loadu_si512(line + b * tile.next);
      if constexpr (kNibbles) {
        const __m512i nibbles = _mm512_and_si512(
            _mm512_srl_epi16(w[b], _mm_cvtsi32_si128(i % 2 * 4)),
            _mm512_set1_epi8(0x0f));
        w[b] = values_of<kFormat>(nibbles, tile.table);
      }
    }
    add_columns<kTokens>(w, codes + 4 * i, stride, dots);
  }
}

/// What a set of scales needs of a tile's tokens, the first one's: the others'
/// are a token's stride further.
struct WideSet {
  const std::byte* lines;
  const std::byte* halves;
  const std::int8_t* codes;
  unsigned high;  ///< bits of the set's columns
  const std::int32_t* starts;
  const float* scales;
  const float* sums;
};

/// dots = starts + 128·Σ values·high codes
template <PackedFormat kFormat, int kTokens>
inline void start_dots(
    const WideTile& tile,
    const WideSet& set,
    std::ptrdiff_t stride,
    __m512i (*dots)[kTokens]) {
  constexpr bool kOffsets = scale_sets(kFormat) == 1;
  const auto start = [&](int t) {
    return kOffsets ? _mm512_set1_epi32(set.starts[t * tile.groups])
                    : _mm512_setzero_si512();
  };
  if (set.high == 0) {
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      dots[0][t] = start(t);
      dots[1][t] = dots[0][t];
    }
    return;
  }
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    dots[0][t] = _mm512_setzero_si512();
    dots[1][t] = _mm512_setzero_si512();
  }
  constexpr unsigned kAll = (1u << (kGroup / 4 / scale_sets(kFormat))) - 1;
  if (set.high == kAll) {
    add_plane<kFormat, kTokens>(tile, set.lines, set.codes, stride, dots);
  } else {
    add_some<kFormat, kTokens>(
        tile,
        set.lines,
        set.codes,
        stride,
        set.high,
        dots);
  }
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    dots[0][t] = _mm512_add_epi32(_mm512_slli_epi32(dots[0][t], 7), start(t));
    dots[1][t] = _mm512_add_epi32(_mm512_slli_epi32(dots[1][t], 7), start(t));
  }
}

/// y[block][token] += the columns of one set of scales.
template <PackedFormat kFormat, int kTokens>
inline void add_set(
    const WideTile& tile,
    const WideSet& set,
    std::ptrdiff_t stride,
    __m512 (*y)[kTokens]) {
  constexpr int kSets = scale_sets(kFormat);
  __m512i dots[kWideBlocks][kTokens];
  start_dots<kFormat, kTokens>(tile, set, stride, dots);
  const std::int8_t* low = set.codes + kGroup;
  add_plane<kFormat, kTokens>(tile, set.lines, low, stride, dots);
#pragma GCC unroll 2
  for (int b = 0; b < kWideBlocks; ++b) {
    const std::byte* own = set.halves + b * tile.next;
    const __m512 scale = load_halves(own);
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      const __m512 factor =
          _mm512_mul_ps(scale, _mm512_set1_ps(set.scales[t * tile.groups]));
      y[b][t] =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[b][t]), factor, y[b][t]);
    }
    if (kSets > 1 || tile.block.biases) {
      const __m512 bias = load_bias(tile.block, own, scale);
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
        y[b][t] = _mm512_fmadd_ps(
            bias,
            _mm512_set1_ps(set.sums[t * tile.groups * kSets]),
            y[b][t]);
      }
    }
  }
}

/// The bits of QuantizedRows::high for the columns of a set.
template <PackedFormat kFormat>
constexpr unsigned high_bits(unsigned group, int set) {
  constexpr int kBits = kGroup / 4 / scale_sets(kFormat);
  return group >> (kBits * set) & ((1u << kBits) - 1);
}

inline void prefetch_later(const std::byte* at) {
  _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
}

template <PackedFormat kFormat, int kTokens>
void wide_tile(const WideTile& tile, const QuantizedRows& x, int token) {
  constexpr int kSets = scale_sets(kFormat);
  const std::ptrdiff_t stride = std::ptrdiff_t{kPlanes} * x.cols;
  const std::ptrdiff_t groups = tile.groups;
  const std::int8_t* codes = x.codes + token * stride;
  const std::int32_t* starts =
      tile.starts + (token - tile.first_token) * groups;
  const float* scales = x.scales + token * groups;
  const float* sums =
      (kSets == 1 ? x.sums : x.half_sums) + token * groups * kSets;
  __m512 y[kWideBlocks][kTokens];
#pragma GCC unroll 2
  for (int b = 0; b < kWideBlocks; ++b) {
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      y[b][t] = _mm512_setzero_ps();
    }
  }
  int ahead = tile.ahead;
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g);
    if (g == ahead) {
      ahead += tile.ahead_step;
      const std::byte* after = stream + kWideBlocks * tile.next;
      for (int i = 0; i < code_bytes(kFormat); i += 64) {
        prefetch_later(after + i);
        prefetch_later(after + tile.next + i);
      }
      const std::byte* scales_after =
          tile.block.unit(g) + kWideBlocks * tile.next;
      prefetch_later(scales_after);
      prefetch_later(scales_after + tile.next);
    }
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      const WideSet own{
          stream + set * (code_bytes(kFormat) / kSets),
          tile.block.scales(g, set),
          codes + set * (kGroup / kSets),
          high_bits<kFormat>(tile.high[g], set),
          starts,
          scales,
          sums + set};
      add_set<kFormat, kTokens>(tile, own, stride, y);
    }
    codes += kPlanes * kGroup;
    ++starts;
    ++scales;
    sums += kSets;
  }
  const __m512 unit = _mm512_set1_ps(tile.unit);
#pragma GCC unroll 2
  for (int b = 0; b < kWideBlocks; ++b) {
    const auto rows =
        static_cast<__mmask16>(b + 1 < kWideBlocks ? 0xffff : tile.last_rows);
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      _mm512_mask_storeu_ps(
          tile.y + (token + t) * tile.ldy + b * kRowBlock,
          rows,
          _mm512_mul_ps(y[b][t], unit));
    }
  }
}

/// Which groups have high codes for one of some tokens, and where: the bits of
/// QuantizedRows::high together.
void find_high(const QuantizedRows& x, int begin, int end, std::uint8_t* high) {
  const std::ptrdiff_t groups = x.cols / kGroup;
  if (x.high == nullptr) {
    std::fill(high, high + groups, std::uint8_t{0xff});
    return;
  }
  constexpr std::ptrdiff_t kBytes = 64;
  for (std::ptrdiff_t g = 0; g < groups; g += kBytes) {
    const std::ptrdiff_t left = std::min(kBytes, groups - g);
    const __mmask64 mask = ~__mmask64{0} >> (kBytes - left);
    __m512i any = _mm512_setzero_si512();
    for (int t = begin; t < end; ++t) {
      any = _mm512_or_si512(
          any,
          _mm512_maskz_loadu_epi8(mask, x.high + t * groups + g));
    }
    _mm512_mask_storeu_epi8(high + g, mask, any);
  }
}

/// WideTile::starts of tokens [begin, end).
void find_starts(
    const PackedMatrix& w,
    const QuantizedRows& x,
    int begin,
    int end,
    std::int32_t* starts) {
  const std::ptrdiff_t groups = x.cols / kGroup;
  const std::int32_t* sums = x.code_sums + begin * groups;
  const std::ptrdiff_t count = (end - begin) * groups;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    starts[i] = -w.offset * sums[i];
  }
}

using WideTileFn = void (*)(const WideTile&, const QuantizedRows&, int);

template <PackedFormat kFormat>
constexpr std::array<WideTileFn, kMostWide - kLeastWide + 1> kWideTiles = {
    wide_tile<kFormat, 4>,
    wide_tile<kFormat, 5>,
    wide_tile<kFormat, 6>};

constexpr auto kAllWideTiles =
    by_format([]<PackedFormat kFormat>() { return kWideTiles<kFormat>; });

/// Most tokens · groups of a call: what find_high() and find_starts() tell of
/// them lies on the stack. A matrix of more than 30,000 columns has no wide
/// tiles.
constexpr int kMostStarts = 16 * 1024;

/// Pairs of row blocks outside, tiles of tokens inside, as in product(). There
/// are tokens that fits_wide(), at most kMostStarts / groups.
void wide_product(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const int tokens = token_end - token_begin;
  const int parts = (tokens + kMostWide - 1) / kMostWide;
  const auto border = [&](int part) {
    return token_begin + tokens * part / parts;
  };
  const int groups = w.groups();
  std::int32_t starts[kMostStarts];
  std::uint8_t high[kMostStarts / kLeastWide];
  find_starts(w, x, token_begin, token_end, starts);
  for (int part = 0; part < parts; ++part) {
    find_high(x, border(part), border(part + 1), high + part * groups);
  }
  WideTile tile{};
  tile.groups = groups;
  tile.next = w.block_bytes();
  tile.unit = w.unit;
  tile.table = load_table(w);
  tile.starts = starts;
  tile.first_token = token_begin;
  tile.ldy = ldy;
  tile.ahead_step = parts;
  const auto& tiles = kAllWideTiles[format_index(w.format)];
  for (int block = block_begin; block < block_end; block += kWideBlocks) {
    const int first = block * kRowBlock;
    const int last = std::min(kRowBlock, w.rows - first - kRowBlock);
    tile.block = w.block_groups(block);
    tile.last_rows = static_cast<__mmask16>((1u << last) - 1);
    tile.y = y + first;
    for (int part = 0; part < parts; ++part) {
      // The weights come from memory: each tile asks for its part of the next.
      tile.ahead = part;
      tile.high = high + part * groups;
      const int begin = border(part);
      const int count = border(part + 1) - begin;
      tiles[static_cast<std::size_t>(count - kLeastWide)](tile, x, begin);
    }
  }
}

/// Does what wide tiles can do of a product with many tokens; returns the first
/// block that is left.
int wide(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const int end = block_end - (block_end - block_begin) % kWideBlocks;
  const int tokens = token_end - token_begin;
  const int room = kMostStarts / w.groups();
  if (end == block_begin || room <= 16) {
    return block_begin;
  }
  const int chunks = (tokens + room - 1) / room;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    wide_product(
        w,
        block_begin,
        end,
        x,
        token_begin + tokens * chunk / chunks,
        token_begin + tokens * (chunk + 1) / chunks,
        y,
        ldy);
  }
  return end;
}

}  // namespace

}  // namespace roofline
