// The kernel with AVX-512's vdpbf16ps. A few rows at a time meet a tile of
// keys: their scores, weights and sums stay in the first cache.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/attention/bf16_parts.h"
#include "roofline/kernels/attention/bf16_rows.h"
#include "roofline/kernels/simd/add_pairs_avx512.h"

// Beyond what files for AVX-512 are compiled for; the plan asks the processor.
#define ROOFLINE_BF16 __attribute__((target("avx512bf16")))

namespace roofline {

namespace {

constexpr int kWidth = 16;
constexpr int kPairDims = 2 * kWidth;  ///< dims of a register of pairs
constexpr int kRows = kBfloat16Group;  ///< whose sums, times kVecs, are 24
constexpr int kVecs = 4;
/// How far scores (times log2(e)) may grow beyond what they are held against
/// before sums are scaled: their weights are 2 to that power at most.
constexpr float kMostGrowth = 8.0f;

/// The rows of a task in scratch. Pairs are two bfloat16, the first one low.
struct State {
  int rows = 0;
  int dims = 0;                     ///< a multiple of 32
  std::uint32_t* q = nullptr;       ///< [rows, dims / 2], times scale·log2(e)
  float* sums = nullptr;            ///< [rows, dims]
  float* scores = nullptr;          ///< [kRows, kBfloat16Keys]
  std::uint32_t* keys = nullptr;    ///< [dims / 2, kBfloat16Keys]
  std::uint32_t* values = nullptr;  ///< [kBfloat16Keys / 2, dims]
  Half* copy = nullptr;             ///< [kBfloat16Keys, dims]: of codes
  float* largest = nullptr;         ///< [rows], what scores are held against
  float* totals = nullptr;          ///< [rows, 16], a lane's keys each
};

inline State open(const AttentionTask& task) {
  State s;
  s.rows = task.rows();
  s.dims = task.args->kv.head_dim;
  const auto rows = static_cast<std::size_t>(s.rows);
  const auto dims = static_cast<std::size_t>(s.dims);
  constexpr auto keys = std::size_t{kBfloat16Keys};
  float* next = task.scratch;
  const auto take = [&next](std::size_t floats) {
    float* taken = next;
    next += floats;
    return taken;
  };
  const auto take_pairs = [&take](std::size_t pairs) {
    return reinterpret_cast<std::uint32_t*>(take(pairs));
  };
  s.sums = take(rows * dims);
  s.q = take_pairs(rows * dims / 2);
  s.keys = take_pairs(keys * dims / 2);
  s.values = take_pairs(keys * dims / 2);
  s.scores = take(kRows * keys);
  s.totals = take(rows * kWidth);
  s.largest = take(rows);
  if (task.args->kv.any_codes()) {
    s.copy = reinterpret_cast<Half*>(take(keys * dims / 2));
  }
  return s;
}

ROOFLINE_BF16 inline __m256i rounded(__m512 values) {
  return (__m256i)_mm512_cvtneps_pbh(values);
}

/// 32 successive values times a factor, rounded.
template <class T>
ROOFLINE_BF16 inline __m512i rounded_pairs(const T* row, Vec factor) {
  const __m256i low = rounded((Vec::load(row) * factor).v);
  const __m256i high = rounded((Vec::load(row + kWidth) * factor).v);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

ROOFLINE_BF16 inline void load_queries(
    const AttentionTask& task,
    const State& s) {
  const Vec factor = Vec::all(task.args->scale * kLog2E);
  for (int r = 0; r < s.rows; ++r) {
    const float* from = row_at(task, task.args->q, task.args->q_stride, r);
    std::uint32_t* q = s.q + static_cast<std::ptrdiff_t>(r) * s.dims / 2;
    float* sums = s.sums + static_cast<std::ptrdiff_t>(r) * s.dims;
    for (int d = 0; d < s.dims; d += kPairDims) {
      _mm512_storeu_si512(q + d / 2, rounded_pairs(from + d, factor));
      _mm512_storeu_ps(sums + d, _mm512_setzero_ps());
      _mm512_storeu_ps(sums + d + kWidth, _mm512_setzero_ps());
    }
    s.largest[r] = kMinusInfinity;
    _mm512_storeu_ps(
        s.totals + static_cast<std::ptrdiff_t>(r) * kWidth,
        _mm512_setzero_ps());
  }
}

using KeyTile = KeyBlock<kBfloat16Keys>;

/// Keys turned to pairs of dims; up to the next vector the last one again.
ROOFLINE_BF16 inline void convert_keys(
    const KeyTile& tile,
    const Half* keys,
    const State& s) {
  const Vec one = Vec::all(1);
  for (int k = 0; k < tile.count; k += kWidth) {
    for (int d = 0; d < s.dims; d += kPairDims) {
      Vec block[kWidth];
      for (int i = 0; i < kWidth; ++i) {
        block[i].v =
            _mm512_castsi512_ps(rounded_pairs(keys + tile.row(k + i) + d, one));
      }
      transpose(block);
      for (int i = 0; i < kWidth; ++i) {
        _mm512_storeu_ps(s.keys + (d / 2 + i) * kBfloat16Keys + k, block[i].v);
      }
    }
  }
}

/// Values in pairs of keys; an odd last one meets a weight of zero.
ROOFLINE_BF16 inline void convert_values(
    const KeyTile& tile,
    const Half* values,
    const State& s) {
  for (int k = 0; k < tile.count; k += 2) {
    const Half* first = values + tile.at[k];
    const Half* second = values + tile.row(k + 1);
    std::uint32_t* to = s.values + static_cast<std::ptrdiff_t>(k / 2) * s.dims;
    for (int d = 0; d < s.dims; d += kWidth) {
      const __m512i a = _mm512_cvtepu16_epi32(rounded(Vec::load(first + d).v));
      const __m512i b = _mm512_cvtepu16_epi32(rounded(Vec::load(second + d).v));
      _mm512_storeu_si512(to + d, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
    }
  }
}

/// The scores of rows from `row` on against VECS vectors of keys.
template <int ROWS, int VECS>
ROOFLINE_BF16 inline void score_vecs(const State& s, int row, int first) {
  __m512 sums[ROWS][VECS];
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      sums[r][v] = _mm512_setzero_ps();
    }
  }
  const int pairs = s.dims / 2;
  add_pairs<ROWS, VECS>(
      s.q + static_cast<std::ptrdiff_t>(row) * pairs,
      pairs,
      s.keys + first * kWidth,
      kBfloat16Keys,
      pairs,
      sums);
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
    float* to = s.scores + r * kBfloat16Keys + first * kWidth;
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      _mm512_storeu_ps(to + v * kWidth, sums[r][v]);
    }
  }
}

template <int ROWS>
ROOFLINE_BF16 void score_rows(const State& s, int row, int vecs) {
  int v = 0;
  for (; v + kVecs <= vecs; v += kVecs) {
    score_vecs<ROWS, kVecs>(s, row, v);
  }
  for (; v < vecs; ++v) {
    score_vecs<ROWS, 1>(s, row, v);
  }
}

/// Adds VECS vectors of the values, weighed, to the rows' sums.
template <int ROWS, int VECS>
ROOFLINE_BF16 inline void add_values(
    const State& s,
    int row,
    int first,
    int pairs) {
  __m512 sums[ROWS][VECS];
  float* own =
      s.sums + static_cast<std::ptrdiff_t>(row) * s.dims + first * kWidth;
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      sums[r][v] = _mm512_loadu_ps(own + r * s.dims + v * kWidth);
    }
  }
  add_pairs<ROWS, VECS>(
      reinterpret_cast<const std::uint32_t*>(s.scores),
      kBfloat16Keys,
      s.values + first * kWidth,
      s.dims,
      pairs,
      sums);
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      _mm512_storeu_ps(own + r * s.dims + v * kWidth, sums[r][v]);
    }
  }
}

template <int ROWS>
ROOFLINE_BF16 void sum_rows(const State& s, int row, int pairs) {
  const int vecs = s.dims / kWidth;
  int v = 0;
  for (; v + kVecs <= vecs; v += kVecs) {
    add_values<ROWS, kVecs>(s, row, v, pairs);
  }
  for (; v < vecs; v += 2) {
    add_values<ROWS, 2>(s, row, v, pairs);
  }
}

/// 2^x for x <= kMostGrowth, within 1e-4 of it (weights are rounded to 4e-3); 0
/// for minus infinity. The nearest integer is what adding 1.5·2²³ leaves in the
/// low bits; the polynomial is 2^f on [-0.5, 0.5], and 1 at 0. Below -127 all
/// is 0.
inline __m512 exp2_of(__m512 x) {
  const __m512 round = _mm512_set1_ps(12582912.0f);
  x = _mm512_max_ps(_mm512_set1_ps(-127.0f), x);  // a NaN stays
  const __m512 shifted = _mm512_add_ps(x, round);
  const __m512 f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, round));
  __m512 p = _mm512_set1_ps(0.05500883f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24221102f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69328295f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  return _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(p), exponent));
}

/// Holds a row's scores against their largest from now on.
inline void raise(const State& s, int row, float top) {
  const __m512 factor = exp2_of(_mm512_set1_ps(s.largest[row] - top));
  float* sums = s.sums + static_cast<std::ptrdiff_t>(row) * s.dims;
  for (int d = 0; d < s.dims; d += kWidth) {
    _mm512_storeu_ps(
        sums + d,
        _mm512_mul_ps(_mm512_loadu_ps(sums + d), factor));
  }
  float* totals = s.totals + static_cast<std::ptrdiff_t>(row) * kWidth;
  _mm512_storeu_ps(totals, _mm512_mul_ps(_mm512_loadu_ps(totals), factor));
  s.largest[row] = top;
}

/// Scores become weights, in pairs of keys where the scores were. scores: of
/// row `row`, an even number of vectors. ALL: it sees the keys of each.
template <bool ALL>
ROOFLINE_BF16 inline void weigh_row(
    const State& s,
    int row,
    float* scores,
    int vecs,
    SeenKeys seen) {
  const auto load = [&](int v) {
    return ALL ? _mm512_loadu_ps(scores + v * kWidth)
               : _mm512_mask_loadu_ps(
                     _mm512_set1_ps(kMinusInfinity),
                     seen.from(v * kWidth),
                     scores + v * kWidth);
  };
  __m512 tops = load(0);
  for (int v = 1; v < vecs; ++v) {
    tops = _mm512_max_ps(tops, load(v));
  }
  const __m512 limit = _mm512_set1_ps(s.largest[row] + kMostGrowth);
  if (_mm512_cmp_ps_mask(tops, limit, _CMP_GT_OQ) != 0) {
    raise(s, row, _mm512_reduce_max_ps(tops));
  }
  // Of a row that has seen no key yet, so that 2^(-inf - 0) is 0.
  const bool none = s.largest[row] == kMinusInfinity;
  const __m512 shift = _mm512_set1_ps(none ? 0.0f : s.largest[row]);
  float* totals = s.totals + static_cast<std::ptrdiff_t>(row) * kWidth;
  __m512 sum = _mm512_loadu_ps(totals);
  for (int v = 0; v < vecs; v += 2) {
    const __m512 low = exp2_of(_mm512_sub_ps(load(v), shift));
    const __m512 high = exp2_of(_mm512_sub_ps(load(v + 1), shift));
    sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
    _mm512_storeu_si512(
        scores + v / 2 * kWidth,
        (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
  _mm512_storeu_ps(totals, sum);
}

/// ROWS rows meet a tile of keys.
template <int ROWS>
ROOFLINE_BF16 void meet_rows(
    const AttentionTask& task,
    const State& s,
    const KeyTile& tile,
    int row) {
  // Later rows see from later keys on, and up to later ones.
  const auto of = [&](int r) {
    return seen_keys(task, r, tile.positions, tile.count);
  };
  const SeenKeys earliest = of(row);
  const SeenKeys latest = of(row + ROWS - 1);
  if (earliest.begin >= latest.end) {
    return;
  }
  const int vecs = (latest.end + kWidth - 1) / kWidth;
  const int even = (vecs + 1) / 2 * 2;
  score_rows<ROWS>(s, row, vecs);
  const bool all = latest.begin == 0 && earliest.end == even * kWidth;
  for (int r = 0; r < ROWS; ++r) {
    float* scores = s.scores + r * kBfloat16Keys;
    if (all) {
      weigh_row<true>(s, row + r, scores, even, {});
    } else {
      weigh_row<false>(s, row + r, scores, even, of(row + r));
    }
  }
  sum_rows<ROWS>(s, row, (latest.end + 1) / 2);
}

void meet_tile(const AttentionTask& task, const State& s, const KeyTile& tile) {
  const KvView& kv = task.args->kv;
  with_floats(
      task,
      tile,
      kv.key_codes,
      kv.keys,
      s.copy,
      [&](const KeyTile& from, const Half* keys) {
        convert_keys(from, keys, s);
      });
  with_floats(
      task,
      tile,
      kv.value_codes,
      kv.values,
      s.copy,
      [&](const KeyTile& from, const Half* values) {
        convert_values(from, values, s);
      });
  int row = 0;
  for (; row + kRows <= s.rows; row += kRows) {
    meet_rows<kRows>(task, s, tile, row);
  }
  for (; row + 2 <= s.rows; row += 2) {
    meet_rows<2>(task, s, tile, row);
  }
  if (row < s.rows) {
    meet_rows<1>(task, s, tile, row);
  }
}

inline void finish(const AttentionTask& task, const State& s) {
  const int dims = task.args->kv.head_dim;
  for (int r = 0; r < s.rows; ++r) {
    const float* sums = s.sums + static_cast<std::ptrdiff_t>(r) * s.dims;
    float* to = task.partial
                    ? task.partial + static_cast<std::ptrdiff_t>(r) * (dims + 2)
                    : row_at(task, task.args->out, task.args->out_stride, r);
    const float total = _mm512_reduce_add_ps(
        _mm512_loadu_ps(s.totals + static_cast<std::ptrdiff_t>(r) * kWidth));
    const Vec factor = Vec::all(task.partial ? 1.0f : 1.0f / total);
    for (int d = 0; d < dims; d += kWidth) {
      (Vec::load(sums + d) * factor).store(to + d);
    }
    if (task.partial) {
      to[dims] = s.largest[r] / kLog2E;
      to[dims + 1] = total;
    }
  }
}

}  // namespace

void bf16_rows_avx512(const AttentionTask& task) {
  const State s = open(task);
  load_queries(task, s);
  each_block<kBfloat16Keys>(task, [&](const KeyTile& tile) {
    meet_tile(task, s, tile);
  });
  finish(task, s);
}

}  // namespace roofline
