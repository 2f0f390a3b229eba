// Attention for many rows on AVX2 with both products in 16-bit integers, which
// vpmaddwd multiplies and adds in pairs: twice the multiply-adds of float32.
//   scores   a scale a query and one a key, sums of all dims exact in 32 bits
//   values   a scale a key, which the key's weights take over: they are held
//            against the largest such share of their row in the tile, and what
//            a tile gives is scaled to the row's largest score in float32
// With heads of 64 dims 12.5 bits a number, where bfloat16 has 8 bits of
// mantissa. Included by attention_avx2.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/attention/whole_weights_avx2.h"

namespace roofline {

namespace {

/// Rows' sums += factor · weights · values.
template <int ROWS>
[[gnu::noinline]] void add_whole_values(
    const WholeState& s,
    int row,
    int count,
    const float* factors) {
  const AttentionState& f = s.floats;
  const auto* weights = reinterpret_cast<const std::int32_t*>(
      f.scores + std::ptrdiff_t{row} * kKeyTile);
  float* out = f.sums + static_cast<std::ptrdiff_t>(row) * f.value_dims;
  const int pairs = (count + 1) / 2;
  for (int d = 0; d < f.value_dims; d += 2 * Vec::kWidth) {
    __m256i sums[ROWS][2];
    multiply_pairs<ROWS>(
        weights,
        kKeyTile,
        s.values + d,
        f.value_dims,
        pairs,
        sums);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      const Vec factor = Vec::all(factors[r]);
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        float* to = out + r * f.value_dims + d + v * Vec::kWidth;
        fma(Vec{_mm256_cvtepi32_ps(sums[r][v])}, factor, Vec::load(to))
            .store(to);
      }
    }
  }
}

/// What a few rows take of a tile: their scores stay in the first cache.
template <int ROWS>
void whole_group(
    const AttentionTask& task,
    const WholeState& s,
    int row,
    const std::int64_t* positions,
    int count) {
  // Of all of them: keys that no row sees are left out.
  int end = 0;
  Visible seen[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    seen[r] = visible_keys<Vec>(task, row + r, positions, count);
    end = seen[r].end > end ? seen[r].end : end;
  }
  if (end == 0) {
    return;
  }
  const int padded = (end + kBlock - 1) / kBlock * kBlock;
  bool all_seen = true;
  for (const Visible& each : seen) {
    all_seen = all_seen && each.begin == 0 && each.end == padded;
  }
  float factors[Vec::kWidth];
  const auto weigh = [&]<WholeScores SCORES>() {
    weigh_group<ROWS, SCORES>(task, s, row, seen, padded, factors);
  };
  if (task.args->softcap) {
    weigh.template operator()<WholeScores::capped>();
  } else if (all_seen) {
    weigh.template operator()<WholeScores::seen>();
  } else {
    weigh.template operator()<WholeScores::masked>();
  }
  add_whole_values<ROWS>(s, row, end, factors);
}

void whole_rows(const AttentionTask& task) {
  WholeState s = open_whole(task);
  load_whole_queries(task, s);
  AttentionState& f = s.floats;
  const TileSource keys = key_source<Vec>(task, f);
  const TileSource values = value_source<Vec>(task, f);
  each_tile<Vec>(task, [&](int slot, int count, const std::int64_t* positions) {
    with_tile<Vec>(keys, slot, count, [&](const auto& tile) {
      convert_whole_keys(tile, count, s);
    });
    with_tile<Vec>(values, slot, count, [&](const auto& tile) {
      convert_whole_values(tile, count, s);
    });
    int row = 0;
    for (; row + kWholeRows <= f.rows; row += kWholeRows) {
      whole_group<kWholeRows>(task, s, row, positions, count);
    }
    for (; row + 2 <= f.rows; row += 2) {
      whole_group<2>(task, s, row, positions, count);
    }
    for (; row < f.rows; ++row) {
      whole_group<1>(task, s, row, positions, count);
    }
  });
  for (int r = 0; r < f.rows; ++r) {
    f.largest[r] = f.total[r] == 0 ? kMinusInfinity : f.largest[r] / kLog2;
  }
  finish<Vec>(task, f);
}

}  // namespace

}  // namespace roofline
