// Matrix products of bytes: smmla multiplies two tokens' eight columns with two
// rows' into four sums, twice what sdot does. It pays from two tokens on.
//
// A register of codes has four columns of four rows. Zipped with that of the
// next four columns it becomes what smmla takes, eight columns of two rows.
#include "roofline/kernels/qmm/qmm_arm_impl.h"

namespace roofline {

namespace {

constexpr int kPairs = 4;  ///< pairs of rows in a tile
constexpr int kPairTokens = 2;

/// Eight columns of eight rows as smmla takes them.
struct RowPairs {
  int8x16_t pair[kPairs];

  /// a: the first four columns of four rows, b: the next four.
  void set(int first, int8x16_t a, int8x16_t b) {
    const int32x4_t low = vreinterpretq_s32_s8(a);
    const int32x4_t high = vreinterpretq_s32_s8(b);
    pair[first] = vreinterpretq_s8_s32(vzip1q_s32(low, high));
    pair[first + 1] = vreinterpretq_s8_s32(vzip2q_s32(low, high));
  }
};

/// from: where the eight columns begin, at the tile's first row.
template <PackedFormat kFormat>
inline RowPairs load_pairs(const std::byte* from, uint8x16_t table) {
  RowPairs rows;
#pragma GCC unroll 2
  for (int quad = 0; quad < kPairs / 2; ++quad) {
    const std::byte* at = from + 4 * kQuadRows * quad;
    if constexpr (has_nibbles(kFormat)) {
      const Values<kFormat> values(at, table);
      rows.set(
          2 * quad,
          as_signed<kFormat>(values.low),
          as_signed<kFormat>(values.high));
    } else {
      rows.set(
          2 * quad,
          as_signed<kFormat>(load_bytes(at)),
          as_signed<kFormat>(load_bytes(at + 64)));
    }
  }
  return rows;
}

/// Sums of a pair of tokens and a pair of rows: [token][row].
template <int kTokens>
using PairSums = int32x4_t[kTokens / kPairTokens][kPairs];

/// One plane of eight columns.
template <int kTokens>
inline void add_pairs(
    const RowPairs& rows,
    const std::int8_t* codes,
    std::ptrdiff_t stride,
    PairSums<kTokens>& sums) {
#pragma GCC unroll 2
  for (int p = 0; p < kTokens / kPairTokens; ++p) {
    const std::int8_t* at = codes + p * kPairTokens * stride;
    const int8x16_t x = vcombine_s8(vld1_s8(at), vld1_s8(at + stride));
#pragma GCC unroll 4
    for (int r = 0; r < kPairs; ++r) {
      sums[p][r] = vmmlaq_s32(sums[p][r], x, rows.pair[r]);
    }
  }
}

/// Both planes together, token by token: four rows a register.
template <int kTokens>
inline void sort_sums(
    const PairSums<kTokens>& high,
    const PairSums<kTokens>& low,
    int32x4_t (&dots)[kTokens][kPairs / 2]) {
#pragma GCC unroll 2
  for (int p = 0; p < kTokens / kPairTokens; ++p) {
#pragma GCC unroll 2
    for (int quad = 0; quad < kPairs / 2; ++quad) {
      int64x2_t both[2];
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const int r = 2 * quad + i;
        both[i] = vreinterpretq_s64_s32(
            vaddq_s32(low[p][r], vshlq_n_s32(high[p][r], 7)));
      }
      dots[2 * p][quad] = vreinterpretq_s32_s64(vzip1q_s64(both[0], both[1]));
      dots[2 * p + 1][quad] =
          vreinterpretq_s32_s64(vzip2q_s64(both[0], both[1]));
    }
  }
}

/// Eight rows times kTokens (even) tokens.
template <PackedFormat kFormat, int kTokens>
void pair_tile(const Tile& tile, const QuantizedRows& x, int token) {
  constexpr int kSets = scale_sets(kFormat);
  constexpr int kCols = 8;  ///< of one smmla
  constexpr int kColsBytes = code_bytes(kFormat) * kCols / kGroup;
  const std::ptrdiff_t stride = std::ptrdiff_t{kPlanes} * x.cols;
  const std::ptrdiff_t groups = tile.groups;
  const std::int8_t* codes = x.codes + token * stride;
  const float* scales = x.scales + token * groups;
  const float* sums =
      (kSets == 1 ? x.sums : x.half_sums) + token * groups * kSets;
  const uint8x16_t table = vld1q_u8(tile.table);
  float32x4_t y[kTokens][kPairs / 2] = {};
  for (std::ptrdiff_t g = 0; g < groups; ++g) {
    const std::byte* stream = tile.codes(g);
#pragma GCC unroll 2
    for (int set = 0; set < kSets; ++set) {
      PairSums<kTokens> high = {};
      PairSums<kTokens> low = {};
#pragma GCC unroll 4
      for (int c = 0; c < kSetCols<kFormat>; c += kCols) {
        const int from = set * kSetCols<kFormat> + c;
        const RowPairs rows =
            load_pairs<kFormat>(stream + from / kCols * kColsBytes, table);
        add_pairs<kTokens>(rows, codes + from, stride, high);
        add_pairs<kTokens>(rows, codes + kGroup + from, stride, low);
      }
      int32x4_t dots[kTokens][kPairs / 2];
      sort_sums<kTokens>(high, low, dots);
      add_set<kFormat>(
          dots,
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

/// Of three tokens the third goes alone.
template <PackedFormat kFormat>
constexpr TileTable<QuantizedRows> pair_tiles() {
  constexpr int kRows = 2 * kPairs;
  return {
      {{dot_tile<kFormat, 1, 4>, 1, kRowBlock},
       {pair_tile<kFormat, 2>, 2, kRows},
       {pair_tile<kFormat, 2>, 2, kRows},
       {pair_tile<kFormat, 4>, 4, kRows}}};
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
  static constexpr auto kTiles =
      by_format([]<PackedFormat kFormat>() { return pair_tiles<kFormat>(); });
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

const QmmKernels& qmm_i8mm() {
  static constexpr QmmKernels kKernels{
      "i8mm",
      quantize_groups<quantize_group>,
      fast,
      exact,
      trim_rows<PortableGroups>};
  return kKernels;
}

}  // namespace roofline
