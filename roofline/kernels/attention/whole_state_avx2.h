// What attention in 16-bit integers on AVX2 holds, and how floats become
// integers: queries once a task, keys and values once a tile of keys. Included
// by attention_avx2.cpp.
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
    f.largest[r] = 0;
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

}  // namespace

}  // namespace roofline
