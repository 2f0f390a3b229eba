// The kernel with AVX-512's vdpbf16ps.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "roofline/kernels/attention/bf16_parts.h"
#include "roofline/kernels/attention/bf16_rows.h"
#include "roofline/kernels/gemm/gemm_bf16.h"

// Beyond what files for AVX-512 are compiled for; the plan asks the processor.
#define ROOFLINE_BF16 __attribute__((target("avx512bf16")))

namespace roofline {

namespace {

constexpr int kWidth = 16;
constexpr int kPairDims = 2 * kWidth;  ///< dims of a register of pairs

/// The rows of a task in scratch. Pairs are two bfloat16, the first one low.
struct State {
  int rows = 0;
  int dims = 0;                     ///< a multiple of 32
  std::uint32_t* q = nullptr;       ///< [rows, dims / 2], times scale·log2(e)
  float* sums = nullptr;            ///< [rows, dims]
  float* scores = nullptr;          ///< [rows, kKeyTile]
  std::uint32_t* keys = nullptr;    ///< [dims / 2, kKeyTile]
  std::uint32_t* values = nullptr;  ///< [kKeyTile / 2, dims]
  Half* copy = nullptr;             ///< [kKeyTile, dims]: of codes
  float* largest = nullptr;         ///< [rows], of scores times log2(e)
  float* totals = nullptr;          ///< [rows, 16], a lane's keys each
};

inline State open(const AttentionTask& task) {
  State s;
  s.rows = task.rows();
  s.dims = task.args->kv.head_dim;
  const auto rows = static_cast<std::size_t>(s.rows);
  const auto dims = static_cast<std::size_t>(s.dims);
  const auto keys = std::size_t{kKeyTile};
  s.sums = task.scratch;
  s.scores = s.sums + rows * dims;
  s.largest = s.scores + rows * keys;
  s.totals = s.largest + rows;
  s.q = reinterpret_cast<std::uint32_t*>(s.totals + rows * kWidth);
  s.keys = s.q + rows * dims / 2;
  s.values = s.keys + keys * dims / 2;
  s.copy = reinterpret_cast<Half*>(s.values + keys * dims / 2);
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

using KeyTile = KeyBlock<kKeyTile>;

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
        _mm512_storeu_ps(s.keys + (d / 2 + i) * kKeyTile + k, block[i].v);
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

/// A product of any number of columns in vectors.
void multiply(const PairProduct& product) {
  constexpr int kPanel = 4 * kWidth;
  for (int n = 0; n < product.columns; n += kPanel) {
    gemm_bf16_avx512().tile(
        product.of_columns(n, std::min(kPanel, product.columns - n)));
  }
}

/// 2^x for x <= 0, within 1e-4 of it (weights are rounded to 4e-3); 0 for minus
/// infinity. The nearest integer is what adding 1.5·2²³ leaves in the low bits;
/// the polynomial is 2^f on [-0.5, 0.5], and 1 at 0. Below -127 all is 0.
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

/// A row's scores become weights, in pairs of keys where the scores were: VECS
/// registers of them. ALL: it sees the keys of each.
template <int VECS, bool ALL>
ROOFLINE_BF16 void softmax_row(const State& s, int row, SeenKeys seen) {
  float* scores = s.scores + static_cast<std::ptrdiff_t>(row) * kKeyTile;
  const __m512 nothing = _mm512_set1_ps(kMinusInfinity);
  __m512 own[VECS];
  __m512 tops = _mm512_set1_ps(s.largest[row]);
#pragma GCC unroll 4
  for (int v = 0; v < VECS; ++v) {
    own[v] = ALL ? _mm512_loadu_ps(scores + v * kWidth)
                 : _mm512_mask_loadu_ps(
                       nothing,
                       seen.from(v * kWidth),
                       scores + v * kWidth);
    tops = _mm512_max_ps(tops, own[v]);
  }
  const float top = _mm512_reduce_max_ps(tops);
  if (top == kMinusInfinity) {
    for (int v = 0; v < VECS; ++v) {
      _mm512_storeu_ps(scores + v * kWidth, _mm512_setzero_ps());
    }
    return;
  }
  const __m512 shift = _mm512_set1_ps(top);
  float* totals = s.totals + static_cast<std::ptrdiff_t>(row) * kWidth;
  __m512 sum = _mm512_loadu_ps(totals);
  if (top > s.largest[row]) {
    const __m512 factor = exp2_of(_mm512_set1_ps(s.largest[row] - top));
    float* sums = s.sums + static_cast<std::ptrdiff_t>(row) * s.dims;
    for (int d = 0; d < s.dims; d += kWidth) {
      _mm512_storeu_ps(
          sums + d,
          _mm512_mul_ps(_mm512_loadu_ps(sums + d), factor));
    }
    sum = _mm512_mul_ps(sum, factor);
    s.largest[row] = top;
  }
  auto* pairs = reinterpret_cast<std::uint16_t*>(scores);
#pragma GCC unroll 4
  for (int v = 0; v < VECS; ++v) {
    const __m512 weights = exp2_of(_mm512_sub_ps(own[v], shift));
    sum = _mm512_add_ps(sum, weights);
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(pairs + v * kWidth),
        rounded(weights));
  }
  _mm512_storeu_ps(totals, sum);
}

template <int VECS>
void softmax_rows(
    const AttentionTask& task,
    const State& s,
    const KeyTile& tile) {
  for (int r = 0; r < s.rows; ++r) {
    const SeenKeys seen = seen_keys(task, r, tile.positions, tile.count);
    if (seen.all(VECS * kWidth)) {
      softmax_row<VECS, true>(s, r, seen);
    } else {
      softmax_row<VECS, false>(s, r, seen);
    }
  }
}

using SoftmaxRows =
    void (*)(const AttentionTask&, const State&, const KeyTile&);
constexpr SoftmaxRows kSoftmaxRows[] = {
    softmax_rows<1>,
    softmax_rows<2>,
    softmax_rows<3>,
    softmax_rows<4>};
static_assert(std::size(kSoftmaxRows) == kKeyTile / kWidth);

void meet_tile(const AttentionTask& task, const State& s, const KeyTile& tile) {
  const KvView& kv = task.args->kv;
  const int vecs = (tile.count + kWidth - 1) / kWidth;
  with_floats(
      task,
      tile,
      kv.key_codes,
      kv.keys,
      s.copy,
      [&](const KeyTile& from, const Half* keys) {
        convert_keys(from, keys, s);
      });
  multiply(
      {s.q,
       s.dims / 2,
       s.keys,
       kKeyTile,
       s.scores,
       kKeyTile,
       s.rows,
       vecs * kWidth,
       s.dims / 2,
       false});
  kSoftmaxRows[vecs - 1](task, s, tile);
  with_floats(
      task,
      tile,
      kv.value_codes,
      kv.values,
      s.copy,
      [&](const KeyTile& from, const Half* values) {
        convert_values(from, values, s);
      });
  multiply(
      {reinterpret_cast<const std::uint32_t*>(s.scores),
       kKeyTile,
       s.values,
       s.dims,
       s.sums,
       s.dims,
       s.rows,
       s.dims,
       (tile.count + 1) / 2,
       true});
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
  each_block<kKeyTile>(task, [&](const KeyTile& tile) {
    meet_tile(task, s, tile);
  });
  finish(task, s);
}

}  // namespace roofline
