// The packed layout in AVX2 registers, half a row block each. Included by
// qmm_avx2.cpp.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "roofline/kernels/packed_matrix.h"

namespace roofline {

namespace {

constexpr int kHalf = 8;    ///< rows a register
constexpr int kHalves = 2;  ///< of a row block

inline __m256i load_line(const std::byte* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

inline __m256 load_halves(const std::byte* from) {
  return _mm256_cvtph_ps(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

/// The biases of the set whose scales are at `from`.
inline __m256 load_bias(
    const BlockGroups& groups,
    const std::byte* from,
    __m256 scale) {
  return groups.biases
             ? load_halves(from + kSetScales)
             : _mm256_mul_ps(scale, _mm256_set1_ps(groups.minus_offset));
}

inline __m256i broadcast4(const std::int8_t* from) {
  std::int32_t four = 0;
  std::memcpy(&four, from, sizeof(four));
  return _mm256_set1_epi32(four);
}

/// A matrix's table, twice.
inline __m256i load_table(const PackedMatrix& w) {
  return _mm256_broadcastsi128_si256(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(w.table.data())));
}

/// The first `count` of 8 lanes.
inline __m256i first_lanes(int count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes);
}

/// A line's values in bytes: of eight columns, or in 8 bits of four.
template <PackedFormat kFormat>
struct LineValues {
  LineValues(const std::byte* from, __m256i table)
      : low(load_line(from)), high(low) {
    if constexpr (has_nibbles(kFormat)) {
      const __m256i nibble = _mm256_set1_epi8(0x0f);
      high = _mm256_and_si256(_mm256_srli_epi16(low, 4), nibble);
      low = _mm256_and_si256(low, nibble);
    }
    if constexpr (has_table(kFormat)) {
      high = _mm256_shuffle_epi8(table, high);
      low = _mm256_shuffle_epi8(table, low);
    }
  }
  __m256i low;
  __m256i high;
};

}  // namespace

}  // namespace roofline
