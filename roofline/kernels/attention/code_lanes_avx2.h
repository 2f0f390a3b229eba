// See code_lanes.h: 8 lanes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/simd/vec_avx2.h"

namespace roofline {
namespace {

struct CodeLanes {
  static constexpr int kWidth = 8;
  static constexpr int kValueRows = 4;
  static constexpr int kParts = 2;
  static constexpr int kChains = 1;  // an addition takes one cycle

  __m256i v;

  static CodeLanes zero() { return {_mm256_setzero_si256()}; }
  template <int BLOCKS>
  static CodeLanes load_blocks(const std::uint8_t* from, std::ptrdiff_t apart) {
    const auto block = [&](int b) {
      return _mm_loadu_si128(
          reinterpret_cast<const __m128i*>(from + b * apart));
    };
    if constexpr (BLOCKS == 2) {
      return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))};
    } else {
      const __m256i low = _mm256_castsi128_si256(block(0));
      return {_mm256_inserti128_si256(low, block(1), 1)};
    }
  }
  void store(std::int32_t* to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v);
  }
  static CodeLanes all(std::int32_t value) {
    return {_mm256_set1_epi32(value)};
  }

  static void turn_to_slots(CodeLanes* x) {
    const __m256i a = _mm256_unpacklo_epi32(x[0].v, x[1].v);
    const __m256i b = _mm256_unpackhi_epi32(x[0].v, x[1].v);
    const __m256i c = _mm256_unpacklo_epi32(x[2].v, x[3].v);
    const __m256i d = _mm256_unpackhi_epi32(x[2].v, x[3].v);
    x[0].v = _mm256_unpacklo_epi64(a, c);
    x[1].v = _mm256_unpackhi_epi64(a, c);
    x[2].v = _mm256_unpacklo_epi64(b, d);
    x[3].v = _mm256_unpackhi_epi64(b, d);
  }
  static void turn_to_bytes(CodeLanes* x) {
    const __m256i a = _mm256_unpacklo_epi8(x[0].v, x[1].v);
    const __m256i b = _mm256_unpackhi_epi8(x[0].v, x[1].v);
    const __m256i c = _mm256_unpacklo_epi8(x[2].v, x[3].v);
    const __m256i d = _mm256_unpackhi_epi8(x[2].v, x[3].v);
    x[0].v = _mm256_unpacklo_epi16(a, c);
    x[1].v = _mm256_unpackhi_epi16(a, c);
    x[2].v = _mm256_unpacklo_epi16(b, d);
    x[3].v = _mm256_unpackhi_epi16(b, d);
  }

  template <int BITS, int HALF>
  CodeLanes even() const {
    const __m256i mask = _mm256_set1_epi32(BITS == 8 ? 0x00ff00ff : 0x000f000f);
    return {_mm256_and_si256(HALF == 0 ? v : _mm256_srli_epi16(v, 4), mask)};
  }
  template <int BITS, int HALF>
  CodeLanes odd() const {
    if constexpr (BITS == 8 || HALF == 1) {
      return {_mm256_srli_epi16(v, 8 + 4 * HALF)};
    }
    const __m256i mask = _mm256_set1_epi32(0x000f000f);
    return {_mm256_and_si256(_mm256_srli_epi16(v, 8), mask)};
  }
  void store_pairs(std::int32_t* to) const {
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_set_epi64x(0, 0x0d0c050409080100));
    const __m256i pairs = _mm256_shuffle_epi8(v, order);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(to),
        _mm256_castsi256_si128(_mm256_permute4x64_epi64(pairs, 0x08)));
  }
  template <int BLOCKS, int GROUPS>
  static CodeLanes spread_pairs(const std::int32_t* from, int groups_apart) {
    const __m256i first = _mm256_set1_epi32(*from);
    if constexpr (BLOCKS == 2 && GROUPS == 1) {
      return {first};
    }
    const int at = BLOCKS == 2 ? groups_apart : 2;
    return {_mm256_blend_epi32(first, _mm256_set1_epi32(from[at]), 0xf0)};
  }

  static CodeLanes add_products(CodeLanes sums, CodeLanes a, CodeLanes b) {
    return {_mm256_add_epi32(sums.v, _mm256_madd_epi16(a.v, b.v))};
  }
  friend CodeLanes operator+(CodeLanes a, CodeLanes b) {
    return {_mm256_add_epi32(a.v, b.v)};
  }

  static CodeLanes rounded(Vec x) { return {_mm256_cvtps_epi32(x.v)}; }
  Vec floats() const { return {_mm256_cvtepi32_ps(v)}; }
  template <int BLOCKS>
  static void sum_blocks(const CodeLanes* x, Vec* sums) {
    for (int i = 0; i < 2; ++i) {
      const __m256i a = x[2 * i].v;
      const __m256i b = x[2 * i + 1].v;
      const CodeLanes low{_mm256_permute2x128_si256(a, b, 0x20)};
      const CodeLanes high{_mm256_permute2x128_si256(a, b, 0x31)};
      if constexpr (BLOCKS == 2) {
        sums[i] = low.floats();
        sums[2 + i] = high.floats();
      } else {
        sums[i] = (low + high).floats();
      }
    }
  }
};

}  // namespace
}  // namespace roofline
