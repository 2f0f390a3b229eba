// Products with many tokens. A tile is two row blocks, so that a broadcast of x
// serves 32 rows, times four to six tokens, whose sums stay in registers. A
// group whose low codes are all zero costs half. Included by qmm_avx512.cpp.
#pragma once

#include <algorithm>
#include <array>
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
  const std::uint8_t* low;  ///< [groups]: 0 where there are no low codes
  float* y;
  std::ptrdiff_t ldy;
};

/// dots[block][token] += Σ values·x over the columns of one set of scales.
/// codes: one plane of the first token's.
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
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      const __m512i four = broadcast4(codes + t * stride + kLineCols * i);
#pragma GCC unroll 2
      for (int b = 0; b < kWideBlocks; ++b) {
        dots[b][t] = _mm512_dpbusd_epi32(dots[b][t], w[b], four);
      }
    }
    if constexpr (kNibbles) {
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
        const __m512i four = broadcast4(codes + t * stride + kLineCols * i + 4);
#pragma GCC unroll 2
        for (int b = 0; b < kWideBlocks; ++b) {
          dots[b][t] = _mm512_dpbusd_epi32(dots[b][t], second[b], four);
        }
      }
    }
  }
}

/// The columns of one set of scales, both planes where both count.
template <PackedFormat kFormat, int kTokens>
inline void add_set(
    const WideTile& tile,
    const std::byte* lines,
    const std::byte* halves,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    bool low,
    const float* scales,
    const float* sums,
    __m512 (*y)[kTokens]) {
  constexpr int kSets = scale_sets(kFormat);
  __m512i dots[kWideBlocks][kTokens];
#pragma GCC unroll 2
  for (int b = 0; b < kWideBlocks; ++b) {
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      dots[b][t] = _mm512_setzero_si512();
    }
  }
  add_plane<kFormat, kTokens>(tile, lines, codes, stride, dots);
  float unit = kHighUnit;
  if (low) {
#pragma GCC unroll 2
    for (int b = 0; b < kWideBlocks; ++b) {
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
        dots[b][t] = _mm512_slli_epi32(dots[b][t], 7);
      }
    }
    add_plane<kFormat, kTokens>(tile, lines, codes + kGroup, stride, dots);
    unit = 1;
  }
#pragma GCC unroll 2
  for (int b = 0; b < kWideBlocks; ++b) {
    const std::byte* own = halves + b * tile.next;
    const __m512 raw = load_halves(own);
    const __m512 bias = load_bias(tile.block, own, raw);
    const __m512 scale = _mm512_mul_ps(raw, _mm512_set1_ps(unit));
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      const __m512 factor =
          _mm512_mul_ps(scale, _mm512_set1_ps(scales[t * tile.groups]));
      y[b][t] =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[b][t]), factor, y[b][t]);
      y[b][t] = _mm512_fmadd_ps(
          bias,
          _mm512_set1_ps(sums[t * tile.groups * kSets]),
          y[b][t]);
    }
  }
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
      add_set<kFormat, kTokens>(
          tile,
          stream + set * (code_bytes(kFormat) / kSets),
          tile.block.scales(g, set),
          codes + set * (kGroup / kSets),
          stride,
          tile.low[g] != 0,
          scales,
          sums + set,
          y);
    }
    codes += kPlanes * kGroup;
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

/// Which groups have low codes for one of some tokens: 1, else 0.
void find_low(const QuantizedRows& x, int begin, int end, std::uint8_t* low) {
  const std::ptrdiff_t groups = x.cols / kGroup;
  if (x.low == nullptr) {
    std::fill(low, low + groups, std::uint8_t{1});
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
          _mm512_maskz_loadu_epi8(mask, x.low + t * groups + g));
    }
    _mm512_mask_storeu_epi8(low + g, mask, any);
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

/// Bytes for what find_low() tells of the tiles of a call: 280 tokens of 11008
/// columns. A wider matrix than 500,000 columns has no wide tiles.
constexpr int kLowBytes = 16 * 1024;

/// Pairs of row blocks outside, tiles of tokens inside, as in product(). There
/// are tokens that fits_wide(), and their tiles have room in kLowBytes.
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
  std::uint8_t low[kLowBytes];
  for (int part = 0; part < parts; ++part) {
    find_low(x, border(part), border(part + 1), low + part * groups);
  }
  WideTile tile{};
  tile.groups = groups;
  tile.next = w.block_bytes();
  tile.unit = w.unit;
  tile.table = load_table(w);
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
      tile.low = low + part * groups;
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
  // Chunks of even size, a tile's worth of flags short of the room.
  const int room = (kLowBytes / w.groups() - 1) * kLeastWide;
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
