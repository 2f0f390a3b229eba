// What byte_tile_avx2.h's tiles read of the tokens of a call, found out once
// for all row blocks that have the same plan. Included by byte_product_avx2.h.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/qmm/byte_tile_avx2.h"
#include "roofline/kernels/qmm/found_tokens_avx2.h"
#include "roofline/kernels/qmm/unpacked_product_avx2.h"

namespace roofline {

namespace {

/// The tokens of a call, and the unit of its matrix.
struct ByteTokens {
  const QuantizedRows& x;
  int begin;
  int end;
  float unit;

  int count() const { return end - begin; }
  std::ptrdiff_t groups() const { return x.cols / kGroup; }
};

/// One thread's memory, beside UnpackedMemory. What follows `found` is of its
/// tokens.
struct ByteMemory {
  static ByteMemory& own() {
    thread_local ByteMemory memory;
    return memory;
  }

  FoundTokens found;
  AlignedBuffer<std::int32_t> starts;
  AlignedBuffer<std::int32_t> factors;
  AlignedBuffer<float> sums;
  AlignedBuffer<float> quanta;
  std::vector<ByteOutlier> outliers;
  std::vector<std::size_t> tile_outliers;  ///< each tile's first, and the end
};

/// Tokens of tiles: fours, and what is left in two that are alike. Calls
/// f(first token, tokens).
template <class F>
inline void each_byte_tile(int begin, int end, F f) {
  for (int token = begin; token < end;) {
    const int left = end - token;
    const bool alike = left > kMostByteTokens && left < 2 * kMostByteTokens - 1;
    const int tokens = alike ? (left + 1) / 2 : std::min(left, kMostByteTokens);
    f(token, tokens);
    token += tokens;
  }
}

/// Minus the center times the codes of each lane's columns in a group's halves,
/// [kPartGroups, 2] twice 16 bits; codes: low ones.
inline void find_half_starts(
    const std::int8_t* codes,
    __m256i minus_center,
    std::int32_t* starts) {
  __m256i sums[2];
  sum_half_lanes(codes, sums);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256i halves = _mm256_mullo_epi16(minus_center, sums[i]);
    const __m128i first = _mm256_castsi256_si128(halves);
    const __m128i second = _mm256_extracti128_si256(halves, 1);
    auto* to = reinterpret_cast<__m128i*>(starts + 8 * i);
    _mm_storeu_si128(to, _mm_unpacklo_epi32(first, second));
    _mm_storeu_si128(to + 1, _mm_unpackhi_epi32(first, second));
  }
}

/// Starts, factors and the quantum of a token, counted in the call.
inline void find_half_parts(
    const ByteTokens& tokens,
    int token,
    int center,
    ByteMemory& memory) {
  const std::ptrdiff_t groups = tokens.groups();
  const std::ptrdiff_t first = (tokens.begin + token) * groups;
  const std::int8_t* codes = tokens.x.codes + first * kPlanes * kGroup + kGroup;
  const float* scales = tokens.x.scales + first;
  std::int32_t* starts = memory.starts.data() + 2 * token * groups;
  std::int32_t* factors = memory.factors.data() + token * groups;
  const __m256i minus_center =
      _mm256_set1_epi16(static_cast<std::int16_t>(-center));
  std::ptrdiff_t g = 0;
  for (; g + kPartGroups <= groups; g += kPartGroups) {
    find_half_starts(
        codes + g * kPlanes * kGroup,
        minus_center,
        starts + 2 * g);
  }
  if (const std::ptrdiff_t left = groups - g; left > 0) {
    alignas(64) std::int8_t codes_left[kPartGroups * kPlanes * kGroup] = {};
    std::memcpy(
        codes_left,
        codes + g * kPlanes * kGroup,
        static_cast<std::size_t>((left - 1) * kPlanes + 1) * kGroup);
    find_half_starts(codes_left, minus_center, starts + 2 * g);
  }
  const float quantum =
      row_quantum(largest_of(scales, static_cast<std::size_t>(groups)));
  for (g = 0; g < groups; ++g) {
    const int k = scale_factor(scales[g], quantum);
    factors[g] = two_halves(k, k);
  }
  memory.quanta.data()[token] = quantum * tokens.unit;
}

/// Σ xc·k; sets: a group's.
inline void find_byte_sums(
    const ByteTokens& tokens,
    int sets,
    ByteMemory& memory) {
  const QuantizedRows& x = tokens.x;
  const std::ptrdiff_t count = tokens.groups() * sets;
  for (int t = 0; t < tokens.count(); ++t) {
    const float* from =
        (sets == 1 ? x.sums : x.half_sums) + (tokens.begin + t) * count;
    float* to = memory.sums.data() + t * count;
    const float inverse = tokens.unit / memory.quanta.data()[t];
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      to[i] = from[i] * inverse;
    }
  }
}

/// The outlier of a token of a tile in a quad; group: of all of x.
inline ByteOutlier byte_outlier(
    const QuantizedRows& x,
    std::ptrdiff_t group,
    unsigned quad,
    int center) {
  const std::int8_t* four = x.codes + group * kPlanes * kGroup + 4 * quad;
  ByteOutlier outlier{};
  std::memcpy(&outlier.codes, four, sizeof(outlier.codes));
  outlier.start =
      two_halves(-center * (four[0] + four[1]), -center * (four[2] + four[3]));
  return outlier;
}

/// The outliers of each tile's tokens, token by token.
inline void find_byte_outliers(
    const ByteTokens& tokens,
    int center,
    ByteMemory& memory) {
  const QuantizedRows& x = tokens.x;
  const std::ptrdiff_t groups = tokens.groups();
  memory.outliers.clear();
  memory.tile_outliers.clear();
  each_byte_tile(tokens.begin, tokens.end, [&](int first, int count) {
    memory.tile_outliers.push_back(memory.outliers.size());
    for (int t = 0; t < count; ++t) {
      const std::ptrdiff_t row = (first + t) * groups;
      const float unit = kHighUnit * tokens.unit /
                         memory.quanta.data()[first + t - tokens.begin];
      for (std::ptrdiff_t g = 0; g < groups; ++g) {
        for (unsigned bits = x.high[row + g]; bits != 0; bits &= bits - 1) {
          const auto quad = static_cast<unsigned>(std::countr_zero(bits));
          ByteOutlier outlier = byte_outlier(x, row + g, quad, center);
          outlier.factor = x.scales[row + g] * unit;
          outlier.line = static_cast<unsigned>(g * kQuads) + quad;
          outlier.token = static_cast<unsigned>(t);
          memory.outliers.push_back(outlier);
        }
      }
    }
  });
  memory.tile_outliers.push_back(memory.outliers.size());
}

/// All that tiles read. sets: a group's.
inline void find_bytes(
    const ByteTokens& tokens,
    const BytePlan& plan,
    int sets,
    ByteMemory& memory) {
  FoundTokens asked(tokens.x, tokens.begin, tokens.count());
  asked.center = plan.center;
  asked.unit = tokens.unit;
  asked.sums = plan.biases ? sets : 0;
  if (is_found(memory.found, asked)) {
    return;
  }
  const auto count = static_cast<std::size_t>(tokens.count());
  const std::size_t parts = count * static_cast<std::size_t>(tokens.groups());
  memory.quanta.grow(count);
  memory.sums.grow(parts * static_cast<std::size_t>(sets));
  // The last token's last groups may write past it.
  memory.starts.grow(2 * (parts + kPartGroups));
  memory.factors.grow(parts);
  for (int t = 0; t < tokens.count(); ++t) {
    find_half_parts(tokens, t, plan.center, memory);
  }
  if (plan.biases) {
    find_byte_sums(tokens, sets, memory);
  }
  find_byte_outliers(tokens, plan.center, memory);
}

}  // namespace

}  // namespace roofline
