// Attention for many rows on AVX2 with both products in 16-bit integers, which
// vpmaddwd multiplies and adds in pairs: twice the multiply-adds of float32.
//   scores   a scale a query and one a key, sums of all dims exact in 32 bits
//   values   a scale a key, which the key's weights take over: they are held
//            against the largest such share of their row in the tile, and what
//            a tile gives is scaled to the row's largest score in float32
// With heads of 64 dims 12.5 bits a number, where bfloat16 has 8 bits of
// mantissa. Included by attention_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "roofline/kernels/attention/tiles_impl.h"
#include "roofline/kernels/simd/vec_avx2.h"

namespace roofline {

namespace {

/// Rows whose sums, in two registers each, fit beside what they are made of.
constexpr int kWholeRows = 6;
constexpr float kLog2 = 1.44269504f;     ///< of e
constexpr int kBlock = 2 * Vec::kWidth;  ///< numbers rounded at a time

/// The largest magnitude of `count` factors on either side, so that the sum of
/// their products fits in 32 bits.
inline float most_whole(int count) {
  constexpr double kRange = 2147483647.0;
  return static_cast<float>(static_cast<int>(std::sqrt(kRange / count)) - 1);
}

/// A task's rows. Pairs are two successive 16-bit integers.
struct WholeState {
  AttentionState floats;           ///< scores, sums, largest, total
  std::int32_t* q = nullptr;       ///< [rows, dims / 2]
  float* q_scales = nullptr;       ///< [rows]
  std::int32_t* keys = nullptr;    ///< [dims / 2, kKeyTile]
  float* key_scales = nullptr;     ///< [kKeyTile]
  std::int32_t* values = nullptr;  ///< [kKeyTile / 2, value_dims]
  float* value_scales = nullptr;   ///< [kKeyTile]: times the weights
  float most = 0;                  ///< of queries and keys
};

/// In the memory of the floats that the integers replace.
inline WholeState open_whole(const AttentionTask& task) {
  WholeState s;
  s.floats = open_state<Vec>(task);
  const AttentionState& f = s.floats;
  const auto half = [](float* floats, int rows, int columns) {
    return floats + static_cast<std::ptrdiff_t>(rows) * columns / 2;
  };
  s.q = reinterpret_cast<std::int32_t*>(f.q);
  s.q_scales = half(f.q, f.rows, f.dims);
  s.keys = reinterpret_cast<std::int32_t*>(f.keys);
  s.key_scales = half(f.keys, f.dims, kKeyTile);
  s.values = reinterpret_cast<std::int32_t*>(f.values);
  s.value_scales = half(f.values, f.value_dims, kKeyTile);
  s.most = most_whole(f.dims);
  return s;
}

/// The larger magnitudes, compared as integers: a NaN is the largest.
inline __m256i larger(__m256i most, Vec v) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  return _mm256_max_epi32(
      most,
      _mm256_and_si256(_mm256_castps_si256(v.v), magnitude));
}

inline float largest_lane(__m256i v) {
  __m128i m =
      _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  const int bits = _mm_cvtsi128_si32(m);
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

/// Integers of most/largest a unit; of zeros only, zeros.
inline Vec whole_factor(float largest, float most) {
  constexpr float kLeast = 1e-30f;
  return Vec::all(largest < kLeast ? 0.0f : most / largest);
}

/// 16 numbers rounded, in 16 bits: dwords are of dims 0 2 8 10 4 6 12 14.
inline __m256i whole_pairs(Vec first, Vec second, Vec factor) {
  return _mm256_packs_epi32(
      _mm256_cvtps_epi32((first * factor).v),
      _mm256_cvtps_epi32((second * factor).v));
}

/// The same in order.
inline __m256i ordered_pairs(Vec first, Vec second, Vec factor) {
  return _mm256_permute4x64_epi64(whole_pairs(first, second, factor), 0xd8);
}

/// 2^x for x up to 126, within 3e-6 of it, which rounding a weight hides; not
/// below 2^-126. Not a number stays so.
inline Vec power_of_two(Vec x) {
  const Vec held = max(Vec::all(-126.0f), x);
  // Adding 1.5·2²³ leaves the nearest integer in the lowest bits.
  const Vec round = Vec::all(12582912.0f);
  const Vec shifted = held + round;
  const Vec r = held - (shifted - round);
  Vec p = Vec::all(9.57007e-3f);
  p = fma(p, r, Vec::all(5.591786e-2f));
  p = fma(p, r, Vec::all(2.4024746e-1f));
  p = fma(p, r, Vec::all(6.9312182e-1f));
  p = fma(p, r, Vec::all(9.9999926e-1f));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23);
  return {_mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_castps_si256(p.v), exponent))};
}

/// In units of log2(e), unless scores are capped first.
inline void load_whole_queries(const AttentionTask& task, const WholeState& s) {
  const AttentionState& f = s.floats;
  load_queries<Vec>(task, f);
  for (int r = 0; r < f.rows; ++r) {
    // Integers follow behind the floats that are read.
    const float* from = f.q + static_cast<std::ptrdiff_t>(r) * f.dims;
    std::int32_t* to = s.q + static_cast<std::ptrdiff_t>(r) * f.dims / 2;
    __m256i most = _mm256_setzero_si256();
    for (int d = 0; d < f.dims; d += Vec::kWidth) {
      most = larger(most, Vec::load(from + d));
    }
    const float largest = largest_lane(most);
    const Vec factor = whole_factor(largest, s.most);
    for (int d = 0; d < f.dims; d += kBlock) {
      const __m256i pairs = ordered_pairs(
          Vec::load(from + d),
          Vec::load(from + d + Vec::kWidth),
          factor);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + d / 2), pairs);
    }
    // Held back: the scales' place is that of the last rows' floats.
    f.largest[r] = largest / s.most * (task.args->softcap ? 1.0f : kLog2);
  }
  for (int r = 0; r < f.rows; ++r) {
    s.q_scales[r] = f.largest[r];
    f.largest[r] = kMinusInfinity;
  }
}

/// The largest magnitude of a row of a tile.
template <class Tile>
inline float largest_of_row(const Tile& tile, int k, int dims) {
  __m256i most = _mm256_setzero_si256();
  for (int d = 0; d < dims; d += Vec::kWidth) {
    most = larger(most, load_padded<Vec>(tile, k, d));
  }
  return largest_lane(most);
}

/// Keys turned to pairs of dims; columns past the last key are zero up to the
/// next vector.
template <class Tile>
[[gnu::noinline]] void convert_whole_keys(
    const Tile& tile,
    int count,
    const WholeState& s) {
  const int dims = s.floats.dims;
  for (int k = 0; k < count; ++k) {
    ask_ahead(tile.row(k), tile.row_bytes());
  }
  // Pairs of dims in the order in which whole_pairs() leaves them.
  constexpr int kPlace[Vec::kWidth] = {0, 1, 4, 5, 2, 3, 6, 7};
  for (int k = 0; k < count; k += Vec::kWidth) {
    Vec factors[Vec::kWidth];
    for (int i = 0; i < Vec::kWidth; ++i) {
      const float largest =
          k + i < count ? largest_of_row(tile, k + i, dims) : 0.0f;
      factors[i] = whole_factor(largest, s.most);
      s.key_scales[k + i] = largest / s.most;
    }
    for (int d = 0; d < dims; d += kBlock) {
      Vec block[Vec::kWidth];
      for (int i = 0; i < Vec::kWidth; ++i) {
        const __m256i pairs =
            k + i < count ? whole_pairs(
                                load_padded<Vec>(tile, k + i, d),
                                load_padded<Vec>(tile, k + i, d + Vec::kWidth),
                                factors[i])
                          : _mm256_setzero_si256();
        block[i].v = _mm256_castsi256_ps(pairs);
      }
      transpose(block);
      std::int32_t* to =
          s.keys + static_cast<std::ptrdiff_t>(d / 2) * kKeyTile + k;
      for (int i = 0; i < Vec::kWidth; ++i) {
        _mm256_storeu_si256(
            reinterpret_cast<__m256i*>(to + kPlace[i] * kKeyTile),
            _mm256_castps_si256(block[i].v));
      }
    }
  }
}

/// Values in pairs of keys; beside an odd last one zeros.
template <class Tile>
[[gnu::noinline]] void convert_whole_values(
    const Tile& tile,
    int count,
    const WholeState& s) {
  const int dims = s.floats.value_dims;
  const float most = most_whole(kKeyTile);
  float* largest = s.value_scales;
  for (int k = 0; k < kKeyTile; ++k) {
    largest[k] = 0;
    if (k < count) {
      ask_ahead(tile.row(k), tile.row_bytes());
      largest[k] = largest_of_row(tile, k, dims);
    }
  }
  for (int k = 0; k < count; k += 2) {
    const Vec first = whole_factor(largest[k], most);
    const Vec second = whole_factor(largest[k + 1], most);
    std::int32_t* to = s.values + static_cast<std::ptrdiff_t>(k / 2) * dims;
    for (int d = 0; d < dims; d += kBlock) {
      const auto whole = [&](int key, Vec factor) {
        return ordered_pairs(
            load_padded<Vec>(tile, key, d),
            load_padded<Vec>(tile, key, d + Vec::kWidth),
            factor);
      };
      const __m256i a = whole(k, first);
      const __m256i b =
          k + 1 < count ? whole(k + 1, second) : _mm256_setzero_si256();
      const __m256i low = _mm256_unpacklo_epi16(a, b);
      const __m256i high = _mm256_unpackhi_epi16(a, b);
      auto* pairs = reinterpret_cast<__m256i*>(to + d);
      _mm256_storeu_si256(pairs, _mm256_permute2x128_si256(low, high, 0x20));
      _mm256_storeu_si256(
          pairs + 1,
          _mm256_permute2x128_si256(low, high, 0x31));
    }
  }
}

/// sums[ROWS][2] = Σ a[ROWS, pairs] · b[pairs, 16 columns].
template <int ROWS>
inline void multiply_pairs(
    const std::int32_t* a,
    int lda,
    const std::int32_t* b,
    int ldb,
    int pairs,
    __m256i (*sums)[2]) {
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
    sums[r][0] = _mm256_setzero_si256();
    sums[r][1] = _mm256_setzero_si256();
  }
#pragma GCC unroll 1
  for (int p = 0; p < pairs; ++p) {
    const auto* row = reinterpret_cast<const __m256i*>(
        b + static_cast<std::ptrdiff_t>(p) * ldb);
    const __m256i first = _mm256_loadu_si256(row);
    const __m256i second = _mm256_loadu_si256(row + 1);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      const __m256i factor = _mm256_set1_epi32(a[r * lda + p]);
      sums[r][0] =
          _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(first, factor));
      sums[r][1] =
          _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(second, factor));
      // Row by row: gcc would gather all products first and spill them.
      __asm__ volatile("" : "+x"(sums[r][0]), "+x"(sums[r][1]));
    }
  }
}

/// Scores of rows [row, row + ROWS).
template <int ROWS>
[[gnu::noinline]] void whole_scores(const WholeState& s, int row, int count) {
  const int pairs = s.floats.dims / 2;
  const std::int32_t* q = s.q + static_cast<std::ptrdiff_t>(row) * pairs;
  float* scores = s.floats.scores + std::ptrdiff_t{row} * kKeyTile;
  for (int k = 0; k < count; k += 2 * Vec::kWidth) {
    __m256i sums[ROWS][2];
    multiply_pairs<ROWS>(q, pairs, s.keys + k, kKeyTile, pairs, sums);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      const Vec scale = Vec::all(s.q_scales[row + r]);
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const int at = k + v * Vec::kWidth;
        const Vec sum{_mm256_cvtepi32_ps(sums[r][v])};
        (sum * (scale * Vec::load(s.key_scales + at)))
            .store(scores + r * kKeyTile + at);
      }
    }
  }
}

/// Products of weights and values' scales become integers of 16 bits, in their
/// place; top: the largest of them in each lane. Held against a bound instead,
/// a key that weighs most and whose value is next to nothing (often the first
/// token) would leave the others no bits, and so would a large value that
/// weighs nothing. Returns what the tile's sums count for.
inline float round_weights(float* weights, __m256i top, int padded) {
  const float most = most_whole(kKeyTile);
  const float largest = largest_lane(top);
  const Vec factor = whole_factor(largest, most);
  auto* whole = reinterpret_cast<__m256i*>(weights);
  for (int i = 0; i < padded; i += kBlock) {
    const __m256i pairs = ordered_pairs(
        Vec::load(weights + i),
        Vec::load(weights + i + Vec::kWidth),
        factor);
    _mm256_storeu_si256(whole + i / kBlock, pairs);
  }
  return largest / (most * most);
}

/// A row's scores become weights in 16 bits, in their place. Returns what the
/// tile's sums count for.
inline float whole_weights(
    const AttentionTask& task,
    const WholeState& s,
    int row,
    Visible seen,
    int padded) {
  const AttentionState& f = s.floats;
  float* scores = f.scores + std::ptrdiff_t{row} * kKeyTile;
  auto* whole = reinterpret_cast<__m256i*>(scores);
  if (seen.begin >= seen.end) {
    for (int i = 0; i < padded; i += kBlock) {
      _mm256_storeu_si256(whole + i / kBlock, _mm256_setzero_si256());
    }
    return 0;
  }
  if (task.args->softcap) {
    const Vec cap = Vec::all(*task.args->softcap);
    for (int i = 0; i < padded; i += Vec::kWidth) {
      (cap * Vec::all(kLog2) * vec_tanh(Vec::load(scores + i) / cap))
          .store(scores + i);
    }
  }
  for (int i = 0; i < seen.begin; ++i) {
    scores[i] = kMinusInfinity;
  }
  for (int i = seen.end; i < padded; ++i) {
    scores[i] = kMinusInfinity;
  }
  Vec tops = Vec::load(scores);
  for (int i = Vec::kWidth; i < padded; i += Vec::kWidth) {
    tops = max(tops, Vec::load(scores + i));
  }
  const float top = max_of(tops);
  const Vec shift = Vec::all(top);
  Vec weights = Vec::all(0.0f);
  __m256i most = _mm256_setzero_si256();
  for (int i = 0; i < padded; i += Vec::kWidth) {
    const Vec weight = power_of_two(Vec::load(scores + i) - shift);
    weights = weights + weight;
    const Vec scaled = weight * Vec::load(s.value_scales + i);
    most = larger(most, scaled);
    scaled.store(scores + i);
  }
  const float unit = round_weights(scores, most, padded);
  const float total = sum_of(weights);
  const Vec ratio = power_of_two(Vec::all(
      top > f.largest[row] ? f.largest[row] - top : top - f.largest[row]));
  const float factor = _mm256_cvtss_f32(ratio.v);
  if (top > f.largest[row]) {
    float* sums = f.sums + static_cast<std::ptrdiff_t>(row) * f.value_dims;
    for (int d = 0; d < f.value_dims; d += Vec::kWidth) {
      (Vec::load(sums + d) * ratio).store(sums + d);
    }
    f.total[row] = f.total[row] * factor + total;
    f.largest[row] = top;
    return unit;
  }
  f.total[row] += factor * total;
  return factor * unit;
}

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
  whole_scores<ROWS>(s, row, padded);
  float factors[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    factors[r] = whole_weights(task, s, row + r, seen[r], padded);
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
    f.largest[r] /= kLog2;
  }
  finish<Vec>(task, f);
}

}  // namespace

}  // namespace roofline
