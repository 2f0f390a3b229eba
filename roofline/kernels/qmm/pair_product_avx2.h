// q4 products of trimmed rows with an offset in the middle of the codes, on
// AVX2, in the tiles of pair_tile_avx2.h. A row block's codes become bytes once
// for all tokens, so many columns at a time that they stay in the first cache.
// Included by qmm_avx2.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/pair_tile_avx2.h"
#include "roofline/kernels/qmm/pair_tokens_avx2.h"

namespace roofline {

namespace {

/// Tokens of tiles. Calls f(first token, tokens).
template <class F>
inline void each_pair_tile(int tokens, F f) {
  for (int t = 0; t < tokens; t += kMostPairTokens) {
    f(t, std::min(kMostPairTokens, tokens - t));
  }
}

/// What a half's scales are whole numbers of.
struct RowUnits {
  __m256 inverse;  ///< 0 where all scales are
  __m256 unit;     ///< times what vpmulhrsw divides by and the matrix's unit
};

inline RowUnits row_units(__m128i most, float matrix_unit) {
  const __m256 largest = _mm256_cvtph_ps(most);
  const __m256 some = _mm256_cmp_ps(largest, _mm256_setzero_ps(), _CMP_NEQ_UQ);
  return {
      _mm256_and_ps(some, _mm256_div_ps(_mm256_set1_ps(kMostFactor), largest)),
      _mm256_mul_ps(
          largest,
          _mm256_set1_ps(
              matrix_unit * static_cast<float>(kMostFactor + 1) /
              kMostFactor))};
}

/// Of both halves of a row block.
inline std::array<RowUnits, kHalves> row_units(
    const BlockGroups& block,
    int groups,
    float matrix_unit) {
  // Bits of positive halves are in their order; a NaN is the largest and isn't
  // lost.
  const __m256i magnitude = _mm256_set1_epi16(0x7fff);
  __m256i most = _mm256_setzero_si256();
  for (int g = 0; g < groups; ++g) {
    most = _mm256_max_epi16(
        most,
        _mm256_and_si256(load_line(block.scales(g)), magnitude));
  }
  return {
      row_units(_mm256_castsi256_si128(most), matrix_unit),
      row_units(_mm256_extracti128_si256(most, 1), matrix_unit)};
}

/// The lower and the upper halves of the 32-bit lanes of a and b.
struct LaneHalves {
  LaneHalves(__m256i a, __m256i b)
      : low(_mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa)),
        high(_mm256_blend_epi16(_mm256_srli_epi32(a, 16), b, 0xaa)) {}
  __m256i low;
  __m256i high;
};

/// A pair's codes in bytes; b: of its second group.
inline void unpack_pair(
    const std::byte* a,
    const std::byte* b,
    std::uint8_t* to) {
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  auto* lines = reinterpret_cast<__m256i*>(to);
#pragma GCC unroll 4
  for (int i = 0; i < kGroup / 8; ++i) {
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const std::ptrdiff_t at = 64 * i + 32 * h;
      const LaneHalves line(load_line(a + at), load_line(b + at));
      __m256i* own = lines + 4 * kHalves * i + h;
      _mm256_store_si256(own, _mm256_and_si256(line.low, nibble));
      _mm256_store_si256(own + kHalves, _mm256_and_si256(line.high, nibble));
      _mm256_store_si256(
          own + 2 * kHalves,
          _mm256_and_si256(_mm256_srli_epi16(line.low, 4), nibble));
      _mm256_store_si256(
          own + 3 * kHalves,
          _mm256_and_si256(_mm256_srli_epi16(line.high, 4), nibble));
    }
  }
}

/// Pairs [begin, end) of a row block in bytes and whole scales.
void unpack_pairs(
    const BlockGroups& block,
    int groups,
    int begin,
    int end,
    const std::array<RowUnits, kHalves>& units,
    PairMemory& memory) {
  for (int pair = begin; pair < end; ++pair) {
    const int first = pair * kPairGroups;
    // Of an odd number of groups the last one is there twice; its second
    // copy's factors are zero.
    const int second = std::min(first + 1, groups - 1);
    const std::byte* stream = block.codes(first);
    ask_ahead<PackedFormat::q4>(block, stream, first);
    ask_ahead<PackedFormat::q4>(block, block.codes(second), second);
    unpack_pair(
        stream,
        block.codes(second),
        memory.w.data() + std::ptrdiff_t{pair - begin} * kPairCodes);
    std::int16_t* scales =
        memory.scales.data() + std::ptrdiff_t{pair - begin} * kPairScales;
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const int from = kSetScales / kHalves * h;
      const auto whole = [&](int group) {
        return _mm256_cvtps_epi32(_mm256_mul_ps(
            load_halves(block.scales(group) + from),
            units[static_cast<std::size_t>(h)].inverse));
      };
      _mm256_store_si256(
          reinterpret_cast<__m256i*>(scales + kRowBlock * h),
          LaneHalves(whole(first), whole(second)).low);
    }
  }
}

/// y of a row block from its sums.
void finish_rows(
    PairMemory& memory,
    int tokens,
    const std::array<RowUnits, kHalves>& units,
    int rows,
    float* y,
    std::ptrdiff_t ldy) {
  const __m256i exist[kHalves] = {first_lanes(rows), first_lanes(rows - kHalf)};
  for (int t = 0; t < tokens; ++t) {
    const float* sums = memory.sums.data() + std::ptrdiff_t{t} * kRowBlock;
    const __m256 quantum = _mm256_set1_ps(memory.quanta.data()[t]);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      float* to = y + t * ldy + kHalf * h;
      const __m256 own = _mm256_mul_ps(
          _mm256_mul_ps(
              _mm256_load_ps(sums + kHalf * h),
              units[static_cast<std::size_t>(h)].unit),
          quantum);
      // A masked store takes a dozen cycles.
      if (rows >= kRowBlock) {
        _mm256_storeu_ps(to, own);
      } else {
        _mm256_maskstore_ps(to, exist[h], own);
      }
    }
  }
}

using PairTileFn = void (*)(const PairTile&);
constexpr std::array<PairTileFn, kMostPairTokens> kPairTiles = {
    pair_tile<1>,
    pair_tile<2>,
    pair_tile<3>,
    pair_tile<4>};

/// Adds what one part of a row block gives all tokens.
void add_pairs(
    const PairShape& shape,
    int chunk,
    int pairs,
    PairMemory& memory) {
  PairTile tile{};
  tile.w = memory.w.data();
  tile.scales = memory.scales.data();
  tile.pairs = pairs;
  tile.stride = std::ptrdiff_t{shape.pairs} * kPairCols;
  tile.part_stride = shape.part_stride;
  const int first_pair = chunk * kPairsAtATime;
  each_pair_tile(shape.tokens, [&](int first, int count) {
    tile.codes = memory.codes.data() + first * tile.stride +
                 std::ptrdiff_t{first_pair} * kPairCols;
    tile.parts = memory.parts.data() + first * tile.part_stride + first_pair;
    for (int t = 0; t < count; ++t) {
      const auto* own = memory.firsts.data() +
                        static_cast<std::ptrdiff_t>(first + t) * shape.chunks +
                        chunk;
      tile.outliers[t] = {
          {memory.excess.data() + own[0].excess,
           memory.excess.data() + own[1].excess},
          {memory.outliers.data() + own[0].outliers,
           memory.outliers.data() + own[1].outliers}};
    }
    tile.sums = memory.sums.data() + std::ptrdiff_t{first} * kRowBlock;
    kPairTiles[static_cast<std::size_t>(count - 1)](tile);
  });
}

/// QmmKernels::fast for q4, trimmed rows and offsets in the middle.
void pair_chunk(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  PairMemory& memory = PairMemory::own();
  const PairShape shape(w, token_end - token_begin);
  prepare_tokens(x, token_begin, shape, memory);
  for (int index = block_begin; index < block_end; ++index) {
    const BlockGroups block = w.block_groups(index);
    const auto units = row_units(block, shape.groups, w.unit);
    std::fill_n(
        memory.sums.data(),
        static_cast<std::size_t>(shape.tokens) * kRowBlock,
        0.0f);
    for (int chunk = 0; chunk < shape.chunks; ++chunk) {
      const int begin = chunk * kPairsAtATime;
      const int end = std::min(shape.pairs, begin + kPairsAtATime);
      unpack_pairs(block, shape.groups, begin, end, units, memory);
      add_pairs(shape, chunk, end - begin, memory);
    }
    const int row = index * kRowBlock;
    finish_rows(
        memory,
        shape.tokens,
        units,
        w.rows - row,
        y + static_cast<std::ptrdiff_t>(token_begin) * ldy + row,
        ldy);
  }
}

/// Bytes of a chunk's tokens, which stay in the second cache, but never fewer
/// than kLeastPairTokens of them.
constexpr int kMostPairBytes = 256 * 1024;
constexpr int kLeastPairTokens = 24;

void pair_product(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const int room =
      std::max(kMostPairBytes / (w.groups() * kGroup), kLeastPairTokens);
  each_token_chunk(token_begin, token_end, room, [&](int begin, int end) {
    pair_chunk(w, block_begin, block_end, x, begin, end, y, ldy);
  });
}

}  // namespace

}  // namespace roofline
