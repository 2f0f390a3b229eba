// Weights of attention in 16-bit integers on AVX2: integer products of queries
// and keys, their softmax, and rounding. A row's weights are relative to a
// score that it keeps from tile to tile, which need not be its largest one:
// floats have the range, and rounding is relative to the largest share of a
// tile. Included by attention_avx2.cpp.
#pragma once

#include "roofline/kernels/attention/whole_state_avx2.h"

namespace roofline {

namespace {

/// Rows whose sums, in two registers each, fit beside what they are made of.
constexpr int kWholeRows = 6;
/// A tile's weights of a row, together, that are neither too small nor too
/// large to go on with what they are relative to.
constexpr float kLeastWeight = 0x1p-40f;
constexpr float kMostWeight = 0x1p60f;

/// 2^x for x between -126 and 126, within 7.5e-5 of it, less than rounding may
/// change the largest weight by; beyond them the nearest one's. Not a number
/// stays so.
inline Vec power_of_two(Vec x) {
  const Vec held = min(Vec::all(126.0f), max(Vec::all(-126.0f), x));
  // Adding 1.5·2²³ leaves the nearest integer in the lowest bits.
  const Vec round = Vec::all(12582912.0f);
  const Vec shifted = held + round;
  const Vec r = held - (shifted - round);
  Vec p = Vec::all(5.5171669e-2f);
  p = fma(p, r, Vec::all(2.4261112e-1f));
  p = fma(p, r, Vec::all(6.9326099e-1f));
  p = fma(p, r, Vec::all(9.9992807e-1f));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23);
  return {_mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_castps_si256(p.v), exponent))};
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

/// The largest of each of eight registers' lanes, compared as integers.
inline Vec larges_of(const __m256i* r) {
  const auto halve = [](__m256i a, __m256i b) {
    const __m256 x = _mm256_castsi256_ps(a);
    const __m256 y = _mm256_castsi256_ps(b);
    return _mm256_max_epi32(
        _mm256_castps_si256(_mm256_blend_ps(x, y, 0xcc)),
        _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x4e)));
  };
  const auto quarter = [&](const __m256i* q) {
    const __m256 ab = _mm256_castsi256_ps(halve(q[0], q[1]));
    const __m256 cd = _mm256_castsi256_ps(halve(q[2], q[3]));
    return _mm256_max_epi32(
        _mm256_castps_si256(_mm256_shuffle_ps(ab, cd, 0x88)),
        _mm256_castps_si256(_mm256_shuffle_ps(ab, cd, 0xdd)));
  };
  const __m256i low = quarter(r);
  const __m256i high = quarter(r + 4);
  return {_mm256_castsi256_ps(_mm256_max_epi32(
      _mm256_permute2x128_si256(low, high, 0x20),
      _mm256_permute2x128_si256(low, high, 0x31)))};
}

/// Products of weights and values' scales become integers of 16 bits, in their
/// place: `factor` is most_whole() / the largest of them. Held against a bound
/// instead, a key that weighs most and whose value is next to nothing (often
/// the first token) would leave the others no bits, and so would a large value
/// that weighs nothing.
inline void round_weights(float* weights, Vec factor, int padded) {
  auto* whole = reinterpret_cast<__m256i*>(weights);
  for (int i = 0; i < padded; i += kBlock) {
    const __m256i pairs = ordered_pairs(
        Vec::load(weights + i),
        Vec::load(weights + i + Vec::kWidth),
        factor);
    _mm256_storeu_si256(whole + i / kBlock, pairs);
  }
}

/// What a group of rows has of a tile, beside the shares in its scores' place.
struct WholeWeights {
  Vec totals[Vec::kWidth];      ///< of the weights, lane by lane
  __m256i larges[Vec::kWidth];  ///< of the shares, lane by lane
};

/// Lanes of a block of keys, from key k on, that a row sees.
inline __m256i seen_lanes(Visible seen, int k) {
  const __m256i lanes = _mm256_add_epi32(
      _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
      _mm256_set1_epi32(k));
  return _mm256_and_si256(
      _mm256_cmpgt_epi32(lanes, _mm256_set1_epi32(seen.begin - 1)),
      _mm256_cmpgt_epi32(_mm256_set1_epi32(seen.end), lanes));
}

/// What scores are: all of them seen, some not, or capped too.
enum class WholeScores { seen, masked, capped };

/// Scores from sums of products, before what a row doesn't see is left out.
template <WholeScores SCORES>
inline Vec whole_scores(const AttentionTask& task, __m256i sums, Vec scale) {
  const Vec sum{_mm256_cvtepi32_ps(sums)};
  if constexpr (SCORES == WholeScores::capped) {
    const Vec cap = Vec::all(*task.args->softcap);
    return cap * Vec::all(kLog2) * vec_tanh(sum * scale / cap);
  }
  return sum * scale;
}

/// Shares of ROWS rows from `row` on in the first `padded` keys: weights times
/// values' scales.
template <int ROWS, WholeScores SCORES>
[[gnu::noinline]] void whole_shares(
    const AttentionTask& task,
    const WholeState& s,
    int row,
    const Visible* seen,
    int padded,
    WholeWeights& to) {
  const int pairs = s.floats.dims / 2;
  const std::int32_t* q = s.q + static_cast<std::ptrdiff_t>(row) * pairs;
  const std::int32_t* keys = s.keys;
  const float* q_scales = s.q_scales + row;
  const float* shifts = s.floats.largest + row;
  const float* key_scales = s.key_scales;
  const float* value_scales = s.value_scales;
  float* shares = s.floats.scores + std::ptrdiff_t{row} * kKeyTile;
  for (int r = 0; r < Vec::kWidth; ++r) {
    to.totals[r] = Vec::all(0.0f);
    to.larges[r] = _mm256_setzero_si256();
  }
  for (int k = 0; k < padded; k += kBlock) {
    __m256i sums[ROWS][2];
    multiply_pairs<ROWS>(q, pairs, keys + k, kKeyTile, pairs, sums);
    // In memory only now: exponentials take all registers.
    __m256i held[2 * ROWS];
    std::memcpy(held, sums, sizeof(sums));
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      const Vec scale = Vec::all(q_scales[r]);
      const Vec shift = Vec::all(shifts[r]);
      Vec weights[2];
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const int at = k + v * Vec::kWidth;
        weights[v] = power_of_two(
            whole_scores<SCORES>(
                task,
                held[2 * r + v],
                scale * Vec::load(key_scales + at)) -
            shift);
        if constexpr (SCORES != WholeScores::seen) {
          const __m256i lanes = seen_lanes(seen[r], at);
          weights[v].v =
              _mm256_and_ps(weights[v].v, _mm256_castsi256_ps(lanes));
        }
      }
      to.totals[r] = to.totals[r] + (weights[0] + weights[1]);
      const Vec first = weights[0] * Vec::load(value_scales + k);
      const Vec second = weights[1] * Vec::load(value_scales + k + Vec::kWidth);
      first.store(shares + r * kKeyTile + k);
      second.store(shares + r * kKeyTile + k + Vec::kWidth);
      to.larges[r] = _mm256_max_epi32(
          to.larges[r],
          _mm256_max_epi32(
              _mm256_castps_si256(first.v),
              _mm256_castps_si256(second.v)));
    }
  }
}

/// Rows' weights become relative to their largest score in the tile, where that
/// is larger than what they are relative to or the row's first.
template <int ROWS, WholeScores SCORES>
[[gnu::noinline]] void move_shifts(
    const AttentionTask& task,
    const WholeState& s,
    int row,
    const Visible* seen,
    int padded) {
  const AttentionState& f = s.floats;
  const int pairs = f.dims / 2;
  const std::int32_t* q = s.q + static_cast<std::ptrdiff_t>(row) * pairs;
  Vec tops[ROWS];
  for (Vec& top : tops) {
    top = Vec::all(kMinusInfinity);
  }
  for (int k = 0; k < padded; k += kBlock) {
    __m256i sums[ROWS][2];
    multiply_pairs<ROWS>(q, pairs, s.keys + k, kKeyTile, pairs, sums);
    for (int r = 0; r < ROWS; ++r) {
      const Vec scale = Vec::all(s.q_scales[row + r]);
      for (int v = 0; v < 2; ++v) {
        const int at = k + v * Vec::kWidth;
        const Vec score = whole_scores<SCORES>(
            task,
            sums[r][v],
            scale * Vec::load(s.key_scales + at));
        const __m256 lanes = _mm256_castsi256_ps(seen_lanes(seen[r], at));
        tops[r].v = _mm256_blendv_ps(tops[r].v, max(tops[r], score).v, lanes);
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    const float top = max_of(tops[r]);
    float& shift = f.largest[row + r];
    float& total = f.total[row + r];
    if (seen[r].begin >= seen[r].end || !(total == 0 || top > shift)) {
      continue;
    }
    const Vec ratio = power_of_two(Vec::all(shift - top));
    float* sums = f.sums + static_cast<std::ptrdiff_t>(row + r) * f.value_dims;
    for (int d = 0; d < f.value_dims; d += Vec::kWidth) {
      (Vec::load(sums + d) * ratio).store(sums + d);
    }
    total *= _mm256_cvtss_f32(ratio.v);
    shift = top;
  }
}

/// Whether a group's weights in a tile, and its rows' first ones at least, are
/// of a size to go on with.
template <int ROWS>
inline bool of_good_size(
    const WholeState& s,
    int row,
    const Visible* seen,
    const float* totals) {
  bool good = true;
  for (int r = 0; r < ROWS; ++r) {
    const bool first =
        s.floats.total[row + r] == 0 && seen[r].begin < seen[r].end;
    good = good && totals[r] <= kMostWeight &&
           !(first && totals[r] < kLeastWeight);
  }
  return good;
}

/// Rows' scores become weights in 16 bits, in their place. factors: what each
/// row's sums of the tile count for.
template <int ROWS, WholeScores SCORES>
void weigh_group(
    const AttentionTask& task,
    const WholeState& s,
    int row,
    const Visible* seen,
    int padded,
    float* factors) {
  WholeWeights weights;
  float totals[Vec::kWidth];
  const auto weigh = [&] {
    whole_shares<ROWS, SCORES>(task, s, row, seen, padded, weights);
    sums_of(weights.totals).store(totals);
  };
  weigh();
  if (!of_good_size<ROWS>(s, row, seen, totals)) {
    move_shifts<ROWS, SCORES>(task, s, row, seen, padded);
    weigh();
  }
  const Vec most = Vec::all(most_whole(kKeyTile));
  const Vec largest = larges_of(weights.larges);
  constexpr float kLeast = 1e-30f;
  float to_whole[Vec::kWidth];
  where_less(largest, Vec::all(kLeast), Vec::all(0.0f), most / largest)
      .store(to_whole);
  (largest / (most * most)).store(factors);
  for (int r = 0; r < ROWS; ++r) {
    s.floats.total[row + r] += totals[r];
    float* shares = s.floats.scores + std::ptrdiff_t{row + r} * kKeyTile;
    round_weights(shares, Vec::all(to_whole[r]), padded);
  }
}

}  // namespace

}  // namespace roofline
