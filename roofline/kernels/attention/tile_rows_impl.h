// Attention for many rows on tiles of bfloat16. Keys and values are turned into
// right sides a block at a time, for all rows of a task; then two tiles of rows
// at a time meet the block: scores, softmax, sums. Scores lie tile by tile, and
// weights take their place in the order in which tiles read a left side:
//   scores   [32 rows / 16, keys / 16, 16, 16] float32
//   weights  [32 rows / 16, keys / 32, 16, 32] bfloat16, 2 KiB apart
// Included by files compiled for AMX only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/attention/bf16_rows.h"
#include "roofline/kernels/attention/tile_rows_state.h"
#include "roofline/kernels/simd/tile_step.h"

namespace roofline {
namespace {

/// scores = q · keys for two tiles of rows and `steps` times 32 keys.
template <class Tiles>
void score_pair(
    Tiles& tiles,
    const TileRowsState& s,
    int tile,
    int step_begin,
    int step_end) {
  const int depth = s.dims / kTileDepth;
  const std::ptrdiff_t side = depth * kTileSize;
  TileStep step{
      TileSide::of(s.q + tile * s.q_tile(), kTileBytes, side, kTileSize),
      TileSide::of(s.keys, kTileBytes, side, kTileSize),
      depth,
      {s.scores, kTileCols, kBlockTiles * kTileFloats, kTileFloats},
      kPairRows,
      kPairRows,
      false};
  step.right.at += step_begin * 2 * side;
  step.sums.at += step_begin * 2 * kTileFloats;
  for (int k = step_begin; k < step_end; ++k) {
    run_step<2, 2, false, TileCover::whole>(tiles, step);
    step.right.at += 2 * side;
    step.sums.at += 2 * kTileFloats;
  }
}

/// sums += weights · values.
template <class Tiles>
void add_pair(
    Tiles& tiles,
    const TileRowsState& s,
    int tile,
    int step_begin,
    int step_end) {
  const std::ptrdiff_t dim_tiles = s.dims / kTileCols;
  TileStep step{
      TileSide::of(
          s.scores + step_begin * 2 * kTileFloats,
          kTileBytes,
          kBlockTiles * kTileSize,
          2 * kTileSize),
      TileSide::of(
          s.values + step_begin * dim_tiles * kTileFloats,
          kTileBytes,
          kTileSize,
          dim_tiles * kTileSize),
      step_end - step_begin,
      {s.sums + tile * s.sums_tile(), kTileCols, s.sums_tile(), kTileFloats},
      kPairRows,
      kPairRows,
      true};
  for (int d = 0; d < s.dims; d += 2 * kTileCols) {
    run_step<2, 2, false, TileCover::whole>(tiles, step);
    step.right.at += 2 * kTileSize;
    step.sums.at += 2 * kTileFloats;
  }
}

/// 2^x for x <= 0, within 7.5e-5, a twentieth of what rounding it to bfloat16
/// may change: 2^f interpolated on [0, 1). 0 for minus infinity.
inline __m512 weight_of(__m512 x) {
  constexpr int kFloor = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  const __m512 f = _mm512_reduce_ps(x, kFloor);
  __m512 p = _mm512_set1_ps(7.8024567e-2f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.2606720e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9583344e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9992526e-1f));
  return _mm512_scalef_ps(p, x);
}

/// Scores that a row doesn't see become minus infinity.
inline void mask_scores(float* scores, SeenKeys seen, int begin, int end) {
  for (int t = begin; t < end; ++t) {
    const __mmask16 mask = seen.from(t * kTileCols);
    if (mask != 0xffff) {
      float* at = scores + t * kTileFloats;
      _mm512_store_ps(
          at,
          _mm512_mask_load_ps(_mm512_set1_ps(kMinusInfinity), mask, at));
    }
  }
}

/// The largest score of each of 16 rows over tiles [begin, end), two at least.
inline __m512 row_tops(const float* scores, int begin, int end) {
  Vec tops[kTileRows];
  for (int r = 0; r < kTileRows; ++r) {
    const float* at = scores + r * kTileCols + begin * kTileFloats;
    __m512 a = _mm512_load_ps(at);
    __m512 b = _mm512_load_ps(at + kTileFloats);
    for (int t = begin + 2; t < end; t += 2) {
      at += 2 * kTileFloats;
      a = _mm512_max_ps(a, _mm512_load_ps(at));
      b = _mm512_max_ps(b, _mm512_load_ps(at + kTileFloats));
    }
    tops[r].v = _mm512_max_ps(a, b);
  }
  transpose(tops);
  for (int n = kTileRows / 2; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) {
      tops[i] = max(tops[i], tops[i + n]);
    }
  }
  return tops[0].v;
}

/// Scores of 16 rows become weights where they were; the sum of each row.
inline __m512 weigh_rows(
    float* scores,
    const float* shifts,
    int begin,
    int end) {
  Vec sums[kTileRows];
  for (int r = 0; r < kTileRows; ++r) {
    const __m512 shift = _mm512_set1_ps(shifts[r]);
    float* at = scores + r * kTileCols + begin * kTileFloats;
    __m512 a = _mm512_setzero_ps();
    __m512 b = _mm512_setzero_ps();
    for (int t = begin; t < end; t += 2, at += 2 * kTileFloats) {
      const __m512 low = weight_of(_mm512_sub_ps(_mm512_load_ps(at), shift));
      const __m512 high =
          weight_of(_mm512_sub_ps(_mm512_load_ps(at + kTileFloats), shift));
      a = _mm512_add_ps(a, low);
      b = _mm512_add_ps(b, high);
      _mm512_store_si512(at, rounded_pairs(low, high));
    }
    sums[r].v = _mm512_add_ps(a, b);
  }
  return sums_of(sums).v;
}

/// The sums of a tile of rows so far weigh less by a factor a row.
inline void shrink_sums(
    const TileRowsState& s,
    int tile,
    const float* factors,
    unsigned rows) {
  for (; rows != 0; rows &= rows - 1) {
    const int r = __builtin_ctz(rows);
    const __m512 factor = _mm512_set1_ps(factors[r]);
    float* at = s.sums + tile * s.sums_tile() + r * kTileCols;
    for (int d = 0; d < s.dims; d += kTileCols, at += kTileFloats) {
      _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), factor));
    }
  }
}

inline void softmax_tile(
    const TileRowsState& s,
    int tile,
    float* scores,
    int begin,
    int end) {
  float* largest = s.largest + tile * kTileRows;
  float* total = s.total + tile * kTileRows;
  const __m512 nothing = _mm512_set1_ps(kMinusInfinity);
  const __m512 before = _mm512_load_ps(largest);
  const __m512 top = _mm512_max_ps(before, row_tops(scores, begin, end));
  // A row that has seen no key yet: 2^(-inf - 0) is 0.
  const __mmask16 empty = _mm512_cmp_ps_mask(top, nothing, _CMP_EQ_OQ);
  const __m512 shift = _mm512_mask_blend_ps(empty, top, _mm512_setzero_ps());
  const __m512 factor = weight_of(_mm512_sub_ps(before, shift));
  alignas(64) float shifts[kTileRows];
  alignas(64) float factors[kTileRows];
  _mm512_store_ps(shifts, shift);
  _mm512_store_ps(factors, factor);
  _mm512_store_ps(largest, top);
  const __m512 sum = weigh_rows(scores, shifts, begin, end);
  _mm512_store_ps(total, _mm512_fmadd_ps(_mm512_load_ps(total), factor, sum));
  const __mmask16 grown = _mm512_cmp_ps_mask(top, before, _CMP_GT_OQ);
  shrink_sums(s, tile, factors, grown);
}

/// Two tiles of rows meet a block.
template <class Tiles>
void meet_pair(
    Tiles& tiles,
    const AttentionTask& task,
    const TileRowsState& s,
    int tile,
    const TiledBlock& block) {
  const int first = tile * kTileRows;
  const int last = std::min(first + kPairRows, s.rows) - 1;
  // Later rows see from later keys on, and up to later ones.
  const auto of = [&](int row) {
    return seen_keys(task, row, block.positions, block.count);
  };
  const SeenKeys earliest = of(first);
  const SeenKeys latest = of(last);
  const SeenKeys seen{earliest.begin, latest.end};
  if (seen.none()) {
    return;
  }
  const int begin = seen.begin / kTileDepth;
  const int end = (seen.end + kTileDepth - 1) / kTileDepth;
  const bool masked =
      latest.begin > begin * kTileDepth || earliest.end < end * kTileDepth;
  score_pair(tiles, s, tile, begin, end);
  for (int i = 0; i < 2; ++i) {
    float* scores = s.scores + i * kBlockTiles * kTileFloats;
    for (int r = 0; masked && r < kTileRows; ++r) {
      const int row = std::min(first + i * kTileRows + r, last);
      mask_scores(scores + r * kTileCols, of(row), 2 * begin, 2 * end);
    }
    softmax_tile(s, tile + i, scores, 2 * begin, 2 * end);
  }
  add_pair(tiles, s, tile, begin, end);
}

inline void finish(const AttentionTask& task, const TileRowsState& s) {
  for (int r = 0; r < s.rows; ++r) {
    const float* from =
        s.sums + r / kTileRows * s.sums_tile() + r % kTileRows * kTileCols;
    float* to =
        task.partial
            ? task.partial + static_cast<std::ptrdiff_t>(r) * (s.dims + 2)
            : row_at(task, task.args->out, task.args->out_stride, r);
    const __m512 factor =
        _mm512_set1_ps(task.partial ? 1.0f : 1.0f / s.total[r]);
    for (int d = 0; d < s.dims; d += kTileCols, from += kTileFloats) {
      _mm512_storeu_ps(to + d, _mm512_mul_ps(_mm512_load_ps(from), factor));
    }
    if (task.partial) {
      to[s.dims] = s.largest[r] / kLog2E;
      to[s.dims + 1] = s.total[r];
    }
  }
}

template <class Tiles>
void meet_block(
    Tiles& tiles,
    const AttentionTask& task,
    const TileRowsState& s,
    const TiledBlock& block) {
  const KvView& kv = task.args->kv;
  with_floats(
      task,
      block,
      kv.key_codes,
      kv.keys,
      s.copy,
      [&](const TiledBlock& from, const Half* keys) {
        convert_keys(from, keys, s);
      });
  with_floats(
      task,
      block,
      kv.value_codes,
      kv.values,
      s.copy,
      [&](const TiledBlock& from, const Half* values) {
        convert_values(from, values, s);
      });
  for (int tile = 0; tile < s.tiles; tile += 2) {
    meet_pair(tiles, task, s, tile, block);
  }
}

template <class Tiles>
void tile_rows(const AttentionTask& task) {
  const TileRowsState s = open_tile_rows(task);
  load_queries(task, s);
  Tiles tiles;
  each_block<kTiledKeys>(task, [&](const TiledBlock& block) {
    meet_block(tiles, task, s, block);
  });
  finish(task, s);
}

}  // namespace
}  // namespace roofline
