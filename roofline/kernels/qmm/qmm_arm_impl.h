// What the Arm variants of qmm share: products of bytes by sdot, the exact
// product, the quantization of x. Included only by instantiating files.
//
// A line of 64 bytes is four registers with four columns of four rows each, as
// sdot takes them: it adds the products of four columns into four rows' sums,
// with x's four codes taken from one lane of a register of 16. Codes of 8 bits
// and table values are read less 128, so that they are signed; the bias takes
// the 128 back.
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/trim_rows.h"

namespace roofline {
namespace {

constexpr int kQuadRows = 4;  ///< rows of a register

struct Tile {
  BlockGroups block;
  int row;  ///< the tile's first in the block
  int groups;
  float unit;
  const std::uint8_t* table;
  int rows;  ///< of the tile's that exist
  float* y;
  std::ptrdiff_t ldy;

  /// A group's codes, and one of its sets of scales, at the tile's first row.
  const std::byte* codes(std::ptrdiff_t group) const {
    return block.codes(group) + 4 * row;
  }
  const std::byte* scales(std::ptrdiff_t group, int set) const {
    return block.scales(group, set) + 2 * row;
  }
};

/// Columns with one scale.
template <PackedFormat kFormat>
constexpr int kSetCols = kGroup / scale_sets(kFormat);

/// Whether values are read less 128.
template <PackedFormat kFormat>
constexpr bool kShifted = kFormat != PackedFormat::q4;

inline uint8x16_t load_bytes(const std::byte* from) {
  return vld1q_u8(reinterpret_cast<const std::uint8_t*>(from));
}

inline float32x4_t load_halves(const std::byte* from) {
  std::uint16_t halves[4];
  std::memcpy(halves, from, sizeof(halves));
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves)));
}

/// Four rows' values of the columns that a register of codes holds: of eight
/// in nibbles (low: the first four), else of four.
template <PackedFormat kFormat>
struct Values {
  uint8x16_t low;
  uint8x16_t high;

  Values(const std::byte* from, [[maybe_unused]] uint8x16_t table)
      : low(load_bytes(from)), high(low) {
    if constexpr (has_nibbles(kFormat)) {
      high = vshrq_n_u8(low, 4);
      low = vandq_u8(low, vdupq_n_u8(15));
    }
    if constexpr (has_table(kFormat)) {
      high = vqtbl1q_u8(table, high);
      low = vqtbl1q_u8(table, low);
    }
  }
};

/// As signed bytes, less 128 where they may be larger than 127.
template <PackedFormat kFormat>
inline int8x16_t as_signed(uint8x16_t values) {
  return vreinterpretq_s8_u8(
      kShifted<kFormat> ? veorq_u8(values, vdupq_n_u8(0x80)) : values);
}

/// The biases of the set whose scales are at `from`.
inline float32x4_t load_bias(
    const BlockGroups& groups,
    const std::byte* from,
    float32x4_t scale) {
  return groups.biases ? load_halves(from + kSetScales)
                       : vmulq_n_f32(scale, groups.minus_offset);
}

/// y[t][q] += dots · scale · x's scale + bias · x's sum, for one set of scales.
template <PackedFormat kFormat, int kTokens, int kQuads>
inline void add_set(
    const int32x4_t (&dots)[kTokens][kQuads],
    const BlockGroups& block,
    const std::byte* halves,
    const float* scales,
    const float* sums,
    std::ptrdiff_t groups,
    float32x4_t (&y)[kTokens][kQuads]) {
#pragma GCC unroll 4
  for (int q = 0; q < kQuads; ++q) {
    const std::byte* own = halves + 2 * kQuadRows * q;
    const float32x4_t scale = load_halves(own);
    float32x4_t bias = load_bias(block, own, scale);
    if constexpr (kShifted<kFormat>) {
      bias = vfmaq_n_f32(bias, scale, 128.0f);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const float32x4_t factor = vmulq_n_f32(scale, scales[t * groups]);
      y[t][q] = vfmaq_f32(y[t][q], vcvtq_f32_s32(dots[t][q]), factor);
      y[t][q] =
          vfmaq_n_f32(y[t][q], bias, sums[t * groups * scale_sets(kFormat)]);
    }
  }
}

template <int kTokens, int kQuads>
inline void store_tile(
    const Tile& tile,
    int token,
    const float32x4_t (&y)[kTokens][kQuads]) {
  for (int t = 0; t < kTokens; ++t) {
    float* to = tile.y + (token + t) * tile.ldy;
    float rows[kQuads * kQuadRows];
#pragma GCC unroll 4
    for (int q = 0; q < kQuads; ++q) {
      const float32x4_t values = vmulq_n_f32(y[t][q], tile.unit);
      if (kQuadRows * (q + 1) <= tile.rows) {
        vst1q_f32(to + kQuadRows * q, values);
      } else {
        vst1q_f32(rows + kQuadRows * q, values);
      }
    }
    for (int r = tile.rows / kQuadRows * kQuadRows; r < tile.rows; ++r) {
      to[r] = rows[r];
    }
  }
}

/// The sums of one plane of 16 columns: sdot over four columns a step, x's
/// codes of 16 columns in one register a token.
template <PackedFormat kFormat, int kTokens, int kQuads>
inline void add_columns(
    const std::byte* stream,
    uint8x16_t table,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    int32x4_t (&high)[kTokens][kQuads],
    int32x4_t (&low)[kTokens][kQuads]) {
  int8x16_t x[kTokens][kPlanes];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    x[t][0] = vld1q_s8(codes + t * stride);
    x[t][1] = vld1q_s8(codes + t * stride + kGroup);
  }
  const auto add = [&]<int kLane>(const int8x16_t values, int q) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      high[t][q] = vdotq_laneq_s32(high[t][q], values, x[t][0], kLane);
      low[t][q] = vdotq_laneq_s32(low[t][q], values, x[t][1], kLane);
    }
  };
#pragma GCC unroll 4
  for (int q = 0; q < kQuads; ++q) {
    const std::byte* at = stream + kQuadRows * 4 * q;
    if constexpr (has_nibbles(kFormat)) {
      const Values<kFormat> a(at, table);
      add.template operator()<0>(as_signed<kFormat>(a.low), q);
      add.template operator()<1>(as_signed<kFormat>(a.high), q);
      const Values<kFormat> b(at + 64, table);
      add.template operator()<2>(as_signed<kFormat>(b.low), q);
      add.template operator()<3>(as_signed<kFormat>(b.high), q);
    } else {
      add.template operator()<0>(as_signed<kFormat>(load_bytes(at)), q);
      add.template operator()<1>(as_signed<kFormat>(load_bytes(at + 64)), q);
      add.template operator()<2>(as_signed<kFormat>(load_bytes(at + 128)), q);
      add.template operator()<3>(as_signed<kFormat>(load_bytes(at + 192)), q);
    }
  }
}

/// kQuads · 4 rows times kTokens tokens by sdot.
template <PackedFormat kFormat, int kTokens, int kQuads>
void dot_tile(const Tile& tile, const QuantizedRows& x, int token) {
  constexpr int kSets = scale_sets(kFormat);
  /// Columns a call of add_columns, and the bytes they lie apart.
  constexpr int kCols = 16;
  constexpr int kColsBytes = code_bytes(kFormat) * kCols / kGroup;
  const std::ptrdiff_t stride = std::ptrdiff_t{kPlanes} * x.cols;
  const std::ptrdiff_t groups = tile.groups;
  const std::int8_t* codes = x.codes + token * stride;
  const float* scales = x.scales + token * groups;
  const float* sums =
      (kSets == 1 ? x.sums : x.half_sums) + token * groups * kSets;
  const uint8x16_t table = vld1q_u8(tile.table);
  float32x4_t y[kTokens][kQuads] = {};
  for (std::ptrdiff_t g = 0; g < groups; ++g) {
    const std::byte* stream = tile.codes(g);
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      int32x4_t high[kTokens][kQuads] = {};
      int32x4_t low[kTokens][kQuads] = {};
#pragma GCC unroll 2
      for (int c = 0; c < kSetCols<kFormat>; c += kCols) {
        const int from = set * kSetCols<kFormat> + c;
        add_columns<kFormat>(
            stream + from / kCols * kColsBytes,
            table,
            codes + from,
            stride,
            high,
            low);
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
        for (int q = 0; q < kQuads; ++q) {
          low[t][q] = vaddq_s32(low[t][q], vshlq_n_s32(high[t][q], 7));
        }
      }
      add_set<kFormat>(
          low,
          tile.block,
          tile.scales(g, set),
          scales,
          sums + set,
          groups,
          y);
    }
    codes += kPlanes * kGroup;
    ++scales;
    sums += kSets;
  }
  store_tile(tile, token, y);
}

/// As dot_tile with x in float32: four columns of four rows at a time.
template <PackedFormat kFormat, int kTokens, int kQuads>
void exact_tile(const Tile& tile, const float* const& tokens, int token) {
  constexpr int kLineCols = has_nibbles(kFormat) ? 8 : 4;
  const std::ptrdiff_t cols = std::ptrdiff_t{tile.groups} * kGroup;
  const uint8x16_t table = vld1q_u8(tile.table);
  const float* x = tokens + token * cols;
  float32x4_t y[kTokens][kQuads] = {};
  const auto add_four = [&](uint8x16_t values,
                            float32x4_t scale,
                            float32x4_t bias,
                            int q,
                            int c) {
    const uint32x4_t words = vreinterpretq_u32_u8(values);
    const uint32x4_t mask = vdupq_n_u32(0xff);
    float32x4_t w[4];
    w[0] = vcvtq_f32_u32(vandq_u32(words, mask));
    w[1] = vcvtq_f32_u32(vandq_u32(vshrq_n_u32(words, 8), mask));
    w[2] = vcvtq_f32_u32(vandq_u32(vshrq_n_u32(words, 16), mask));
    w[3] = vcvtq_f32_u32(vshrq_n_u32(words, 24));
    for (float32x4_t& value : w) {
      value = vfmaq_f32(bias, value, scale);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const float32x4_t four = vld1q_f32(x + t * cols + c);
      y[t][q] = vfmaq_laneq_f32(y[t][q], w[0], four, 0);
      y[t][q] = vfmaq_laneq_f32(y[t][q], w[1], four, 1);
      y[t][q] = vfmaq_laneq_f32(y[t][q], w[2], four, 2);
      y[t][q] = vfmaq_laneq_f32(y[t][q], w[3], four, 3);
    }
  };
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.codes(g);
    for (int c = 0; c < kGroup; c += kLineCols) {
      const std::byte* halves = tile.scales(g, c / kSetCols<kFormat>);
      const std::byte* line = stream + c / kLineCols * 64;
#pragma GCC unroll 4
      for (int q = 0; q < kQuads; ++q) {
        const std::byte* own = halves + 2 * kQuadRows * q;
        const float32x4_t scale = load_halves(own);
        const float32x4_t bias = load_bias(tile.block, own, scale);
        const Values<kFormat> values(line + 4 * kQuadRows * q, table);
        add_four(values.low, scale, bias, q, c);
        if constexpr (has_nibbles(kFormat)) {
          add_four(values.high, scale, bias, q, c + 4);
        }
      }
    }
    x += kGroup;
  }
  store_tile(tile, token, y);
}

/// A tile's function and its extent.
template <class X>
struct TileKind {
  void (*run)(const Tile&, const X&, int token) = nullptr;
  int tokens = 0;
  int rows = 0;
};

/// By the number of tokens that are left, less one.
template <class X>
using TileTable = std::array<TileKind<X>, 4>;

/// Row blocks outside, token tiles inside: a block's stream stays in the cache
/// while all tokens pass over it.
template <class X>
void product(
    const TileTable<X>& tiles,
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const X& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  for (int block = block_begin; block < block_end; ++block) {
    for (int token = token_begin; token < token_end;) {
      const int left =
          std::min(static_cast<int>(tiles.size()), token_end - token);
      const TileKind<X>& kind = tiles[static_cast<std::size_t>(left - 1)];
      for (int row = 0; row < kRowBlock; row += kind.rows) {
        const int first = block * kRowBlock + row;
        if (first >= w.rows) {
          break;
        }
        const Tile tile{
            w.block_groups(block),
            row,
            w.groups(),
            w.unit,
            w.table.data(),
            std::min(kind.rows, w.rows - first),
            y + first,
            ldy};
        kind.run(tile, x, token);
      }
      token += kind.tokens;
    }
  }
}

/// Two tokens meet 16 rows in registers, four meet 8.
template <PackedFormat kFormat>
constexpr TileTable<QuantizedRows> dot_tiles() {
  return {
      {{dot_tile<kFormat, 1, 4>, 1, 16},
       {dot_tile<kFormat, 2, 4>, 2, 16},
       {dot_tile<kFormat, 3, 2>, 3, 8},
       {dot_tile<kFormat, 4, 2>, 4, 8}}};
}

template <PackedFormat kFormat>
constexpr TileTable<const float*> exact_tiles() {
  return {
      {{exact_tile<kFormat, 1, 4>, 1, 16},
       {exact_tile<kFormat, 2, 4>, 2, 16},
       {exact_tile<kFormat, 3, 4>, 3, 16},
       {exact_tile<kFormat, 4, 4>, 4, 16}}};
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
  static constexpr auto kTiles =
      by_format([]<PackedFormat kFormat>() { return exact_tiles<kFormat>(); });
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

/// 16 integers that fit in int8.
inline int8x16_t narrow(const int32x4_t* n) {
  return vcombine_s8(
      vmovn_s16(vcombine_s16(vmovn_s32(n[0]), vmovn_s32(n[1]))),
      vmovn_s16(vcombine_s16(vmovn_s32(n[2]), vmovn_s32(n[3]))));
}

/// sums: of the codes of each half.
inline void quantize_group(
    const float* x,
    std::int8_t* codes,
    float& scale,
    std::array<std::int32_t, 2>& sums) {
  constexpr int kVecs = kGroup / 4;
  float32x4_t v[kVecs];
  uint32x4_t most_bits = vdupq_n_u32(0);
#pragma GCC unroll 8
  for (int i = 0; i < kVecs; ++i) {
    v[i] = vld1q_f32(x + 4 * i);
    // Compared as integers, a NaN is the largest and isn't lost.
    most_bits = vmaxq_u32(most_bits, vreinterpretq_u32_f32(vabsq_f32(v[i])));
  }
  const std::uint32_t bits = vmaxvq_u32(most_bits);
  float most = 0;
  std::memcpy(&most, &bits, sizeof(most));
  const bool zero = most < kZeroGroup;
  const float inverse = zero ? 0.0f : kMostCode / most;
  int32x4_t high[kVecs];
  int32x4_t low[kVecs];
  int32x4_t halves[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
#pragma GCC unroll 8
  for (int i = 0; i < kVecs; ++i) {
    const int32x4_t code = vcvtnq_s32_f32(vmulq_n_f32(v[i], inverse));
    halves[2 * i / kVecs] = vaddq_s32(halves[2 * i / kVecs], code);
    high[i] = vshrq_n_s32(vaddq_s32(code, vdupq_n_s32(kHighUnit / 2)), 7);
    low[i] = vsubq_s32(code, vshlq_n_s32(high[i], 7));
  }
  vst1q_s8(codes, narrow(high));
  vst1q_s8(codes + kGroup / 2, narrow(high + kVecs / 2));
  vst1q_s8(codes + kGroup, narrow(low));
  vst1q_s8(codes + kGroup + kGroup / 2, narrow(low + kVecs / 2));
  scale = zero ? 0.0f : most / kMostCode;
  sums = {vaddvq_s32(halves[0]), vaddvq_s32(halves[1])};
}

}  // namespace
}  // namespace roofline
