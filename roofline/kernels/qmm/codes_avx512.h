// The packed layout in AVX-512 registers: a group's codes as bytes, a set's
// scales and biases as floats. Included by the files of that instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "roofline/kernels/packed_matrix.h"
#include "roofline/kernels/simd/avx512_intrinsics.h"

namespace roofline {

namespace {

constexpr int kLines = kGroup / 4;  ///< registers of unpacked codes a group

/// A matrix's table, four times.
inline __m512i load_table(const PackedMatrix& w) {
  return _mm512_broadcast_i32x4(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(w.table.data())));
}

/// Nibbles in bytes → their values.
template <PackedFormat kFormat>
inline __m512i values_of(__m512i nibbles, __m512i table) {
  return has_table(kFormat) ? _mm512_shuffle_epi8(table, nibbles) : nibbles;
}

/// A line of nibbles: the values of its first four columns, then of the others.
template <PackedFormat kFormat>
inline void split_line(
    __m512i line,
    __m512i table,
    __m512i& first,
    __m512i& second) {
  const __m512i nibble = _mm512_set1_epi8(0x0f);
  first = values_of<kFormat>(_mm512_and_si512(line, nibble), table);
  second = values_of<kFormat>(
      _mm512_and_si512(_mm512_srli_epi16(line, 4), nibble),
      table);
}

/// A group's values: w[i] holds columns 4i…4i+3 of row r in bytes 4r…4r+3.
template <PackedFormat kFormat>
inline void load_codes(const std::byte* from, __m512i table, __m512i* w) {
  if constexpr (has_nibbles(kFormat)) {
#pragma GCC unroll 4
    for (int i = 0; i < kLines / 2; ++i) {
      const __m512i line = _mm512_loadu_si512(from + 64 * i);
      split_line<kFormat>(line, table, w[2 * i], w[2 * i + 1]);
    }
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < kLines; ++i) {
      w[i] = _mm512_loadu_si512(from + 64 * i);
    }
  }
}

inline __m512 load_halves(const std::byte* from) {
  return _mm512_cvtph_ps(
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

/// The biases of the set whose scales are at `from`.
inline __m512 load_bias(
    const BlockGroups& groups,
    const std::byte* from,
    __m512 scale) {
  return groups.biases
             ? load_halves(from + kSetScales)
             : _mm512_mul_ps(scale, _mm512_set1_ps(groups.minus_offset));
}

inline __m512i broadcast4(const std::int8_t* from) {
  std::int32_t four = 0;
  std::memcpy(&four, from, sizeof(four));
  return _mm512_set1_epi32(four);
}

}  // namespace

}  // namespace roofline
