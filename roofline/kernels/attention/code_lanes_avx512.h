// See code_lanes.h: 16 lanes, with VNNI's products of 16 bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/simd/vec_avx512.h"

namespace roofline {
namespace {

struct CodeLanes {
  static constexpr int kWidth = 16;
  static constexpr int kValueRows = 4;
  static constexpr int kParts = 1;
  static constexpr int kChains = 4;

  __m512i v;

  static CodeLanes zero() { return {_mm512_setzero_si512()}; }
  template <int BLOCKS>
  static CodeLanes load_blocks(const std::uint8_t* from, std::ptrdiff_t apart) {
    const auto block = [&](int b) {
      return _mm_loadu_si128(
          reinterpret_cast<const __m128i*>(from + b * apart));
    };
    const auto pair = [&](int b) {
      return _mm256_loadu_si256(
          reinterpret_cast<const __m256i*>(from + b * apart));
    };
    if constexpr (BLOCKS == 4) {
      return {_mm512_loadu_si512(from)};
    } else if constexpr (BLOCKS == 2) {
      const __m512i low = _mm512_castsi256_si512(pair(0));
      return {_mm512_inserti64x4(low, pair(1), 1)};
    } else {
      __m512i x = _mm512_castsi128_si512(block(0));
      x = _mm512_inserti32x4(x, block(1), 1);
      x = _mm512_inserti32x4(x, block(2), 2);
      return {_mm512_inserti32x4(x, block(3), 3)};
    }
  }
  void store(std::int32_t* to) const { _mm512_storeu_si512(to, v); }
  static CodeLanes all(std::int32_t value) {
    return {_mm512_set1_epi32(value)};
  }

  static void turn_to_slots(CodeLanes* x) {
    const __m512i a = _mm512_unpacklo_epi32(x[0].v, x[1].v);
    const __m512i b = _mm512_unpackhi_epi32(x[0].v, x[1].v);
    const __m512i c = _mm512_unpacklo_epi32(x[2].v, x[3].v);
    const __m512i d = _mm512_unpackhi_epi32(x[2].v, x[3].v);
    x[0].v = _mm512_unpacklo_epi64(a, c);
    x[1].v = _mm512_unpackhi_epi64(a, c);
    x[2].v = _mm512_unpacklo_epi64(b, d);
    x[3].v = _mm512_unpackhi_epi64(b, d);
  }
  static void turn_to_bytes(CodeLanes* x) {
    const __m512i a = _mm512_unpacklo_epi8(x[0].v, x[1].v);
    const __m512i b = _mm512_unpackhi_epi8(x[0].v, x[1].v);
    const __m512i c = _mm512_unpacklo_epi8(x[2].v, x[3].v);
    const __m512i d = _mm512_unpackhi_epi8(x[2].v, x[3].v);
    x[0].v = _mm512_unpacklo_epi16(a, c);
    x[1].v = _mm512_unpackhi_epi16(a, c);
    x[2].v = _mm512_unpacklo_epi16(b, d);
    x[3].v = _mm512_unpackhi_epi16(b, d);
  }

  template <int BITS, int HALF>
  CodeLanes even() const {
    const __m512i mask = _mm512_set1_epi32(BITS == 8 ? 0x00ff00ff : 0x000f000f);
    return {_mm512_and_si512(HALF == 0 ? v : _mm512_srli_epi16(v, 4), mask)};
  }
  template <int BITS, int HALF>
  CodeLanes odd() const {
    if constexpr (BITS == 8 || HALF == 1) {
      return {_mm512_srli_epi16(v, 8 + 4 * HALF)};
    }
    const __m512i mask = _mm512_set1_epi32(0x000f000f);
    return {_mm512_and_si512(_mm512_srli_epi16(v, 8), mask)};
  }
  void store_pairs(std::int32_t* to) const {
    const __m512i order =
        _mm512_broadcast_i32x4(_mm_set_epi64x(0, 0x0d0c050409080100));
    const __m512i pairs = _mm512_shuffle_epi8(v, order);
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(to),
        _mm512_castsi512_si256(_mm512_maskz_compress_epi64(0x55, pairs)));
  }
  template <int BLOCKS, int GROUPS>
  static CodeLanes spread_pairs(const std::int32_t* from, int groups_apart) {
    constexpr int kSets = 4 / BLOCKS;
    __m512i x = _mm512_set1_epi32(*from);
    const auto put = [&](int b) {
      const int group = b % BLOCKS * GROUPS / BLOCKS;
      const std::int32_t* at = from + group * groups_apart + b / BLOCKS * 2;
      const auto mask = static_cast<__mmask16>(0xffff << 4 * b);
      x = _mm512_mask_set1_epi32(x, mask, *at);
    };
    if constexpr (kSets * GROUPS == 4) {
      put(1);
      put(2);
      put(3);
    } else if constexpr (kSets * GROUPS == 2) {
      put(2);
    }
    return {x};
  }

  static CodeLanes add_products(CodeLanes sums, CodeLanes a, CodeLanes b) {
    return {_mm512_dpwssd_epi32(sums.v, a.v, b.v)};
  }
  friend CodeLanes operator+(CodeLanes a, CodeLanes b) {
    return {_mm512_add_epi32(a.v, b.v)};
  }

  static CodeLanes rounded(Vec x) { return {_mm512_cvtps_epi32(x.v)}; }
  Vec floats() const { return {_mm512_cvtepi32_ps(v)}; }
  template <int BLOCKS>
  static void sum_blocks(const CodeLanes* x, Vec* sums) {
    const auto add = [](__m512i a, __m512i b) {
      return _mm512_add_epi32(a, b);
    };
    // Of two vectors the blocks 0 and 1, 2 and 3, 0 and 2, or 1 and 3.
    const auto low = [](__m512i a, __m512i b) {
      return _mm512_shuffle_i32x4(a, b, 0x44);
    };
    const auto high = [](__m512i a, __m512i b) {
      return _mm512_shuffle_i32x4(a, b, 0xee);
    };
    const auto even = [](__m512i a, __m512i b) {
      return _mm512_shuffle_i32x4(a, b, 0x88);
    };
    const auto odd = [](__m512i a, __m512i b) {
      return _mm512_shuffle_i32x4(a, b, 0xdd);
    };
    const auto put = [&](int i, __m512i sum) {
      sums[i] = CodeLanes{sum}.floats();
    };
    if constexpr (BLOCKS == 4) {
      const __m512i a = low(x[0].v, x[1].v);
      const __m512i b = low(x[2].v, x[3].v);
      const __m512i c = high(x[0].v, x[1].v);
      const __m512i d = high(x[2].v, x[3].v);
      put(0, even(a, b));
      put(1, odd(a, b));
      put(2, even(c, d));
      put(3, odd(c, d));
    } else if constexpr (BLOCKS == 2) {
      const __m512i a = add(low(x[0].v, x[1].v), high(x[0].v, x[1].v));
      const __m512i b = add(low(x[2].v, x[3].v), high(x[2].v, x[3].v));
      put(0, even(a, b));
      put(1, odd(a, b));
    } else {
      const __m512i a = add(even(x[0].v, x[1].v), odd(x[0].v, x[1].v));
      const __m512i b = add(even(x[2].v, x[3].v), odd(x[2].v, x[3].v));
      put(0, add(even(a, b), odd(a, b)));
    }
  }
};

}  // namespace
}  // namespace roofline
