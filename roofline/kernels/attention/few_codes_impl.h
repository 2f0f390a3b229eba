// Attention for a few rows over codes: whole numbers up to the group's scale.
// A query and a row's weights are rounded to 16 bits, each with its own scale,
// relative to the largest of a group; sums of their products with codes are
// exact. What that rounding moves is below a twentieth of what 8-bit codes do,
// a fifth where one key of a tile outweighs all others.
//   score(k) = Σ_g s(g,k) · (q_scale(g) · Σ_d q'(d)·c(k,d)) + b(g,k) · Σ_d q(d)
//   out(d)   = w_scale(g) · Σ_k w'(g,k)·c(k,d) + Σ_k w(k)·b(g,k),
//   w'(g,k)  ≈ w(k)·s(g,k) / w_scale(g)
// Included only by instantiating files.
#pragma once

#include <cstring>
#include <type_traits>

#include "roofline/kernels/attention/tiles_impl.h"

namespace roofline {
namespace {

/// The largest whole number of 16 bits. 64 products with codes of 8 bits stay
/// below 2³⁰.
constexpr float kMostWhole = 32767.0f;
/// Its reciprocal is finite; what is less is as good as zero.
constexpr float kLeastWhole = 1e-30f;
/// Bytes of a slot that are turned at a time.
constexpr int kLotBytes = 16;
static_assert(kKvBlock == 2 * kLotBytes);

/// What makes values up to `largest` whole numbers of 16 bits.
inline float whole_factor(float largest) {
  return kMostWhole / (largest > kLeastWhole ? largest : kLeastWhole);
}

/// The queries of a task in whole numbers, in the scratch that turned keys have
/// where rows are many, [dims, kKeyTile]: up to 96 rows take dims · 54 of it.
static_assert(kTargetRows <= 96);
struct QueryCodes {
  std::int32_t* pairs = nullptr;  ///< [rows, dims / 2]: for four dims from d on
                                  ///< (d, d + 2), (d + 1, d + 3)
  float* scales = nullptr;        ///< [rows, groups]
  float* sums = nullptr;          ///< [rows, groups], of q itself
  int dims = 0;
  int groups = 0;

  QueryCodes(const AttentionState& s, int group)
      : pairs(reinterpret_cast<std::int32_t*>(s.keys)),
        scales(s.keys + std::ptrdiff_t{s.rows} * s.dims / 2),
        sums(scales + std::ptrdiff_t{s.rows} * (s.dims / group)),
        dims(s.dims),
        groups(s.dims / group) {}
};

/// Slots of a tile, as many as there are lanes.
struct Lot {
  const std::uint8_t* first = nullptr;
  std::ptrdiff_t stride = 0;
};

template <int N>
using Constant = std::integral_constant<int, N>;

}  // namespace

template <class V, class Lanes>
void round_queries(const AttentionState& s, int group) {
  const QueryCodes to(s, group);
  alignas(64) std::int32_t whole[V::kWidth];
  for (int r = 0; r < s.rows; ++r) {
    for (int g = 0; g < to.groups; ++g) {
      const float* q = s.q + std::ptrdiff_t{r} * s.dims + g * group;
      V sum = V::all(0.0f);
      V largest = sum;
      for (int d = 0; d < group; d += V::kWidth) {
        const V part = V::load(q + d);
        sum = sum + part;
        largest = max(largest, max(part, V::all(0.0f) - part));
      }
      const float top = max_of(largest);
      const int at = r * to.groups + g;
      to.sums[at] = sum_of(sum);
      to.scales[at] = top / kMostWhole;
      const V factor = V::all(whole_factor(top));
      std::int32_t* pairs =
          to.pairs + (std::ptrdiff_t{r} * s.dims + g * group) / 2;
      for (int d = 0; d < group; d += V::kWidth) {
        Lanes::rounded(V::load(q + d) * factor).store(whole);
        for (int i = 0; i < V::kWidth; i += 4, pairs += 2) {
          pairs[0] = (whole[i] & 0xffff) | (whole[i + 2] << 16);
          pairs[1] = (whole[i + 1] & 0xffff) | (whole[i + 3] << 16);
        }
      }
    }
  }
}

/// The lot from key k of a tile on. Past the last key of the tile there may be
/// no memory: the last lot is copied then.
template <class Lanes, int BITS>
inline Lot lot_of(
    const CodeTile<BITS>& tile,
    int k,
    int count,
    std::uint8_t* copy) {
  if (k + Lanes::kWidth <= count) {
    return {tile.row(k), tile.stride};
  }
  const auto bytes = static_cast<std::size_t>(tile.row_bytes());
  for (int i = 0; i < Lanes::kWidth; ++i) {
    std::uint8_t* to = copy + i * tile.row_bytes();
    if (k + i < count) {
      std::memcpy(to, tile.row(k + i), bytes);
    } else {
      std::memset(to, 0, bytes);
    }
  }
  return {copy, tile.row_bytes()};
}

/// Blocks of a slot's bytes, from byte `at` on, of four vectors' slots.
template <class Lanes, int BLOCKS>
inline void load_lot(const Lot& lot, int at, Lanes* x) {
  const std::uint8_t* from = lot.first + at;
  for (int i = 0; i < 4; ++i) {
    x[i] = Lanes::template load_blocks<BLOCKS>(
        from + i * lot.stride,
        4 * lot.stride);
  }
}

/// Scores of ROWS rows from `row` on against a lot of keys, from key k of the
/// tile on.
template <class V, class Lanes, int ROWS, int BITS>
void score_lot(
    const AttentionState& s,
    const QueryCodes& q,
    int row,
    const CodeTile<BITS>& keys,
    const Lot& lot,
    int k) {
  constexpr int kHalves = 8 / BITS;
  constexpr int kSums = ROWS <= 2 ? Lanes::kChains : (Lanes::kChains + 1) / 2;
  const int row_pairs = q.dims / 2;
  V scores[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    scores[r] = V::all(0.0f);
  }
  const std::int32_t* pairs = q.pairs + std::ptrdiff_t{row} * row_pairs;
  int at = 0;
  for (int g = 0; g < keys.groups; ++g) {
    Lanes sums[ROWS][kSums];
    for (int r = 0; r < ROWS; ++r) {
      for (int i = 0; i < kSums; ++i) {
        sums[r][i] = Lanes::zero();
      }
    }
    const int end = (g + 1) * keys.group * BITS / 8;
    for (; at < end; at += kLotBytes) {
      Lanes x[4];
      load_lot<Lanes, 1>(lot, at, x);
      Lanes::turn_to_slots(x);
      const auto meet = [&]<int HALF>(Constant<HALF>) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const Lanes even = x[j].template even<BITS, HALF>();
          const Lanes odd = x[j].template odd<BITS, HALF>();
          for (int r = 0; r < ROWS; ++r) {
            const std::int32_t* own = pairs + r * row_pairs + 2 * j;
            Lanes& first = sums[r][2 * j % kSums];
            first = Lanes::add_products(first, Lanes::all(own[0]), even);
            Lanes& second = sums[r][(2 * j + 1) % kSums];
            second = Lanes::add_products(second, Lanes::all(own[1]), odd);
          }
        }
        pairs += 8;
      };
      meet(Constant<0>());
      if constexpr (kHalves == 2) {
        meet(Constant<1>());
      }
    }
    const V scale = V::load(keys.scales + g * kKeyTile + k);
    const V bias = V::load(keys.biases + g * kKeyTile + k);
    for (int r = 0; r < ROWS; ++r) {
      Lanes sum = sums[r][0];
      for (int i = 1; i < kSums; ++i) {
        sum = sum + sums[r][i];
      }
      const int of = (row + r) * q.groups + g;
      const V own = fma(bias, V::all(q.sums[of]), scores[r]);
      scores[r] = fma(sum.floats() * V::all(q.scales[of]), scale, own);
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    scores[r].store(s.scores + std::ptrdiff_t{row + r} * kKeyTile + k);
  }
}

/// What ROWS rows weigh GROUPS groups of a tile's values with.
template <class V, class Lanes, int ROWS, int GROUPS>
struct GroupWeights {
  static constexpr int kPairs = kKeyTile / 2;

  /// For each four slots (0, 2), (1, 3) of w'.
  std::int32_t pairs[ROWS][GROUPS][kPairs];
  float scale[ROWS][GROUPS];
  float bias[ROWS][GROUPS];  ///< Σ w·b

  template <int BITS>
  void set(
      const AttentionState& s,
      int row,
      const CodeTile<BITS>& values,
      int first_group) {
    for (int r = 0; r < ROWS; ++r) {
      const float* weights = s.scores + std::ptrdiff_t{row + r} * kKeyTile;
      for (int g = 0; g < GROUPS; ++g) {
        const int at = (first_group + g) * kKeyTile;
        set_row(r, g, weights, values.scales + at, values.biases + at);
      }
    }
  }

  void set_row(
      int r,
      int g,
      const float* weights,
      const float* scales,
      const float* biases) {
    constexpr int kVecs = kKeyTile / V::kWidth;
    V scaled[kVecs];
    V sum = V::all(0.0f);
    V largest = sum;
#pragma GCC unroll 16
    for (int i = 0; i < kVecs; ++i) {
      const V w = V::load(weights + i * V::kWidth);
      scaled[i] = w * V::load(scales + i * V::kWidth);
      largest = max(largest, scaled[i]);
      sum = fma(w, V::load(biases + i * V::kWidth), sum);
    }
    bias[r][g] = sum_of(sum);
    const float top = max_of(largest);
    scale[r][g] = top / kMostWhole;
    const V factor = V::all(whole_factor(top));
#pragma GCC unroll 16
    for (int i = 0; i < kVecs; ++i) {
      std::int32_t* to = pairs[r][g] + i * V::kWidth / 2;
      Lanes::rounded(scaled[i] * factor).store_pairs(to);
    }
  }
};

/// Where add_blocks() is: BLOCKS blocks of a slot from block `block` on, in
/// GROUPS groups; of 4 bits the codes in the low or the high half of a byte.
template <int BITS_, int HALF_, int BLOCKS_, int GROUPS_>
struct Place {
  static constexpr int BITS = BITS_;
  static constexpr int HALF = HALF_;
  static constexpr int BLOCKS = BLOCKS_;
  static constexpr int GROUPS = GROUPS_;
  int block = 0;
};

/// Of the four vectors of sums those of one of Lanes::kParts parts: as many as
/// fit into the registers.
template <class V, class Lanes, int ROWS, int PART, class At>
inline void sum_part(
    const GroupWeights<V, Lanes, ROWS, At::GROUPS>& weights,
    const CodeTile<At::BITS>& values,
    int count,
    At at,
    bool ask,
    Lanes (*sums)[4]) {
  constexpr int kSlots = Lanes::kWidth / At::BLOCKS;  // of four vectors
  constexpr int kPairs = kKeyTile / 2;
  constexpr int kOwn = 4 / Lanes::kParts;
  Lanes own[ROWS][kOwn];
  for (int r = 0; r < ROWS; ++r) {
    for (int j = 0; j < kOwn; ++j) {
      own[r][j] = Lanes::zero();
    }
  }
  Lot lot{values.row(0), values.stride};
  const std::int32_t* pairs = weights.pairs[0][0];
  for (int k = 0; k < count; k += kSlots, pairs += kSlots / 2) {
    Lanes x[4];
    load_lot<Lanes, At::BLOCKS>(lot, at.block * kLotBytes, x);
    if (ask) {
      ask_ahead(lot.first, kSlots * values.row_bytes());
    }
    lot.first += kSlots * lot.stride;
    Lanes::turn_to_bytes(x);
    Lanes even[kOwn], odd[kOwn];
    for (int j = 0; j < kOwn; ++j) {
      const Lanes& bytes = x[PART * kOwn + j];
      even[j] = bytes.template even<At::BITS, At::HALF>();
      odd[j] = bytes.template odd<At::BITS, At::HALF>();
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) {
      const std::int32_t* from = pairs + r * At::GROUPS * kPairs;
      const auto spread = [&](int i) {
        return Lanes::template spread_pairs<At::BLOCKS, At::GROUPS>(
            from + i,
            kPairs);
      };
      const Lanes a = spread(0);
      const Lanes b = spread(1);
      for (int j = 0; j < kOwn; ++j) {
        const Lanes sum = Lanes::add_products(own[r][j], a, even[j]);
        own[r][j] = Lanes::add_products(sum, b, odd[j]);
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int j = 0; j < kOwn; ++j) {
      sums[r][PART * kOwn + j] = own[r][j];
    }
  }
}

/// sums[row …][…] += weights · values for the dims of a place.
template <class V, class Lanes, int ROWS, class At>
void add_blocks(
    const AttentionState& s,
    int row,
    const GroupWeights<V, Lanes, ROWS, At::GROUPS>& weights,
    const CodeTile<At::BITS>& values,
    int count,
    At at) {
  const bool first = row == 0 && at.block == 0 && At::HALF == 0;
  Lanes sums[ROWS][4];
  sum_part<V, Lanes, ROWS, 0>(weights, values, count, at, first, sums);
  if constexpr (Lanes::kParts == 2) {
    sum_part<V, Lanes, ROWS, 1>(weights, values, count, at, false, sums);
  }
  constexpr int kVecs = kLotBytes / V::kWidth;
  for (int r = 0; r < ROWS; ++r) {
    V parts[At::BLOCKS * kVecs];
    Lanes::template sum_blocks<At::BLOCKS>(sums[r], parts);
    float* to = s.sums + std::ptrdiff_t{row + r} * s.value_dims;
    for (int b = 0; b < At::BLOCKS; ++b) {
      const int g = b * At::GROUPS / At::BLOCKS;
      const V scale = V::all(weights.scale[r][g]);
      const V bias = V::all(weights.bias[r][g]);
      const int d = ((at.block + b) * (8 / At::BITS) + At::HALF) * kLotBytes;
      for (int v = 0; v < kVecs; ++v) {
        float* part = to + d + v * V::kWidth;
        (fma(parts[b * kVecs + v], scale, bias) + V::load(part)).store(part);
      }
    }
  }
}

/// Dims of ROWS rows, BLOCKS blocks at a time as long as there are so many,
/// from block `block` on. Returns the first that is left.
template <class V, class Lanes, int ROWS, int BITS, int BLOCKS, int GROUPS>
int add_groups(
    const AttentionState& s,
    int row,
    const CodeTile<BITS>& values,
    int count,
    int block) {
  const int blocks = values.row_bytes() / kLotBytes;
  const int group_blocks = values.group * BITS / 8 / kLotBytes;
  GroupWeights<V, Lanes, ROWS, GROUPS> weights;
  int weighed = -1;
  for (; block + BLOCKS <= blocks; block += BLOCKS) {
    if (const int group = block / group_blocks; group != weighed) {
      weights.set(s, row, values, group);
      weighed = group;
    }
    const Place<BITS, 0, BLOCKS, GROUPS> low{block};
    add_blocks<V, Lanes>(s, row, weights, values, count, low);
    if constexpr (BITS == 4) {
      const Place<BITS, 1, BLOCKS, GROUPS> high{block};
      add_blocks<V, Lanes>(s, row, weights, values, count, high);
    }
  }
  return block;
}

/// Dims of ROWS rows from block `block` on: as many blocks at a time as a
/// vector has, then fewer.
template <class V, class Lanes, int ROWS, int BITS, int BLOCKS>
void add_rows(
    const AttentionState& s,
    int row,
    const CodeTile<BITS>& values,
    int count,
    int block) {
  const int group_blocks = values.group * BITS / 8 / kLotBytes;
  const auto add = [&]<int GROUPS>() {
    block = add_groups<V, Lanes, ROWS, BITS, BLOCKS, GROUPS>(
        s,
        row,
        values,
        count,
        block);
  };
  if (group_blocks >= BLOCKS) {
    add.template operator()<1>();
  } else if constexpr (BLOCKS > 1) {
    if (group_blocks == 1) {
      add.template operator()<BLOCKS>();
    } else {
      add.template operator()<2>();
    }
  }
  if constexpr (BLOCKS > 1) {
    add_rows<V, Lanes, ROWS, BITS, BLOCKS / 2>(s, row, values, count, block);
  }
}

/// Calls f with the number of rows as a constant, and the first of them: MOST
/// at a time.
template <int MOST, class F>
inline void by_rows(int rows, F f) {
  int row = 0;
  for (; row + MOST <= rows; row += MOST) {
    f.template operator()<MOST>(row);
  }
  if constexpr (MOST > 1) {
    if (row < rows) {
      const auto later = [&]<int ROWS>(int more) {
        f.template operator()<ROWS>(row + more);
      };
      by_rows<MOST - 1>(rows - row, later);
    }
  }
}

template <class V, class Lanes, int BITS>
void score_codes(
    const AttentionState& s,
    const CodeTile<BITS>& keys,
    int count) {
  // Behind the queries, and as large as a sixteenth of what keys have.
  auto* copy = reinterpret_cast<std::uint8_t*>(s.keys + 56 * s.dims);
  const QueryCodes q(s, keys.group);
  for (int k = 0; k < count; k += Lanes::kWidth) {
    ask_ahead(keys.row(k), Lanes::kWidth * keys.row_bytes());
    const Lot lot = lot_of<Lanes>(keys, k, count, copy);
    by_rows<4>(s.rows, [&]<int ROWS>(int row) {
      score_lot<V, Lanes, ROWS>(s, q, row, keys, lot, k);
    });
  }
}

/// Zeros follow the weights, scales and biases of a tile's last key; a copy has
/// zeros for slots that may not be there.
template <int BITS>
inline CodeTile<BITS> padded_tile(
    const AttentionState& s,
    CodeTile<BITS> tile,
    int count) {
  const std::size_t left =
      sizeof(float) * static_cast<std::size_t>(kKeyTile - count);
  for (int r = 0; r < s.rows; ++r) {
    std::memset(s.scores + std::ptrdiff_t{r} * kKeyTile + count, 0, left);
  }
  for (int g = 0; g < 2 * tile.groups; ++g) {
    std::memset(s.value_scales + g * kKeyTile + count, 0, left);
  }
  const auto bytes = static_cast<std::size_t>(tile.row_bytes());
  auto* copy = reinterpret_cast<std::uint8_t*>(s.values);
  for (int k = 0; k < count; ++k) {
    std::memcpy(copy + bytes * static_cast<std::size_t>(k), tile.row(k), bytes);
  }
  const auto held = bytes * static_cast<std::size_t>(count);
  std::memset(copy + held, 0, bytes * kKeyTile - held);
  tile.first = copy;
  tile.stride = tile.row_bytes();
  return tile;
}

template <class V, class Lanes, int BITS>
void add_coded_values(
    const AttentionState& s,
    const CodeTile<BITS>& tile,
    int count) {
  const auto values = count < kKeyTile ? padded_tile(s, tile, count) : tile;
  by_rows<Lanes::kValueRows>(s.rows, [&]<int ROWS>(int row) {
    add_rows<V, Lanes, ROWS, BITS, Lanes::kWidth / 4>(s, row, values, count, 0);
  });
}

}  // namespace roofline
