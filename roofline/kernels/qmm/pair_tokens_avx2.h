// What q4 products in the tiles of pair_tile_avx2.h read of tokens whose rows
// are trimmed: low codes of two groups in turn, what their sums start with,
// whole scales and lists of outliers, found out once for all row blocks of a
// call. Included by pair_product_avx2.h.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/qmm/found_tokens_avx2.h"
#include "roofline/kernels/qmm/pair_tile_avx2.h"
#include "roofline/kernels/qmm/trim_avx2.h"

namespace roofline {

namespace {

/// Offsets with which 32 columns' (code − offset)·x fit in 16 bits.
constexpr int kLeastPairOffset = 7;
constexpr int kMostPairOffset = 8;

/// Pairs whose parts are found together.
constexpr int kPartPairs = 4;

/// How long both lists of outliers are.
struct ListsEnd {
  std::size_t excess;
  std::size_t outliers;
};

/// One thread's memory. What follows `found` is of its tokens.
struct PairMemory {
  static PairMemory& own() {
    thread_local PairMemory memory;
    return memory;
  }

  AlignedBuffer<std::uint8_t> w;
  AlignedBuffer<std::int16_t> scales;
  AlignedBuffer<float> sums;
  FoundTokens found;
  AlignedBuffer<std::int8_t> codes;
  AlignedBuffer<TokenPair> parts;
  AlignedBuffer<float> quanta;
  std::vector<PairExcess> excess;
  std::vector<PairOutlier> outliers;
  /// [tokens, chunks]: each one's first in both, and the ends.
  std::vector<ListsEnd> firsts;
};

/// The shape of a call.
struct PairShape {
  explicit PairShape(const PackedMatrix& w, int tokens)
      : groups(w.groups()),
        pairs((groups + kPairGroups - 1) / kPairGroups),
        chunks((pairs + kPairsAtATime - 1) / kPairsAtATime),
        part_stride((pairs + kPartPairs - 1) / kPartPairs * kPartPairs),
        tokens(tokens),
        offset(w.offset) {}
  int groups;
  int pairs;
  int chunks;
  int part_stride;
  int tokens;
  int offset;
};

/// Σ codes + 32·128 of each of two groups, in 16 bits of the lowest 32.
inline __m128i pair_sums(__m256i first, __m256i second) {
  const __m256i bias = _mm256_set1_epi8(static_cast<char>(0x80));
  const __m256i zero = _mm256_setzero_si256();
  const __m256i both = _mm256_add_epi64(
      _mm256_sad_epu8(_mm256_xor_si256(first, bias), zero),
      _mm256_slli_epi64(
          _mm256_sad_epu8(_mm256_xor_si256(second, bias), zero),
          16));
  const __m128i half = _mm_add_epi64(
      _mm256_castsi256_si128(both),
      _mm256_extracti128_si256(both, 1));
  return _mm_add_epi64(half, _mm_unpackhi_epi64(half, half));
}

inline __m256i load_codes(const std::int8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

/// Low codes of two groups, two columns of each in turn.
inline void interleave_pair(__m256i a, __m256i b, std::int8_t* to) {
  const __m256i low = _mm256_unpacklo_epi16(a, b);
  const __m256i high = _mm256_unpackhi_epi16(a, b);
  auto* lines = reinterpret_cast<__m256i*>(to);
  _mm256_store_si256(lines, _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_store_si256(lines + 1, _mm256_permute2x128_si256(low, high, 0x31));
}

/// 16 bits in the lane of a group.
inline std::int32_t in_lane(int value, int group) {
  const unsigned shift = 16u * static_cast<unsigned>(group % kPairGroups);
  return static_cast<std::int32_t>(
      (static_cast<std::uint32_t>(value) & 0xffffu) << shift);
}

/// Calls f(line in its pair, both columns' codes as 16 bits, their sum) for the
/// lines of a group that aren't zero.
template <class F>
inline void each_line(__m256i codes, F f) {
  alignas(32) std::int8_t bytes[kGroup];
  _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), codes);
  const auto zeros = static_cast<unsigned>(
      _mm256_movemask_epi8(_mm256_cmpeq_epi16(codes, _mm256_setzero_si256())));
  for (unsigned bits = ~zeros & 0x55555555u; bits != 0; bits &= bits - 1) {
    const int at = std::countr_zero(bits);
    std::uint16_t two = 0;
    std::memcpy(&two, bytes + at, sizeof(two));
    f(static_cast<unsigned>(at / 2), two, bytes[at] + bytes[at + 1]);
  }
}

/// A group's codes in 16 bits.
struct GroupCodes {
  explicit GroupCodes(const std::int8_t* codes) {
    const auto load = [](const std::int8_t* from) {
      return _mm256_cvtepi8_epi16(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    };
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      high[i] = load(codes + 16 * i);
      low[i] = load(codes + kGroup + 16 * i);
    }
  }
  __m256i high[2];
  __m256i low[2];
};

/// A group's codes as kept + excess + 128·high, in 16 bits.
struct SplitCodes {
  __m256i kept[2];
  __m256i excess[2];
  __m256i high[2];
  int most = 0;  ///< Σ |kept| + |excess|
};

/// Codes of more than `most` keep both their planes; of others what is more
/// than 8 bits is the excess.
inline SplitCodes split_codes(const GroupCodes& codes, int most) {
  const __m256i top = _mm256_set1_epi16(kHighUnit - 1);
  const __m256i bottom = _mm256_set1_epi16(1 - kHighUnit);
  SplitCodes split;
  __m256i magnitudes = _mm256_setzero_si256();
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256i x =
        _mm256_add_epi16(_mm256_slli_epi16(codes.high[i], 7), codes.low[i]);
    const __m256i large = _mm256_cmpgt_epi16(
        _mm256_abs_epi16(x),
        _mm256_set1_epi16(static_cast<std::int16_t>(most)));
    const __m256i clamped = _mm256_max_epi16(bottom, _mm256_min_epi16(top, x));
    split.kept[i] = _mm256_blendv_epi8(clamped, codes.low[i], large);
    split.excess[i] = _mm256_andnot_si256(large, _mm256_sub_epi16(x, clamped));
    split.high[i] = _mm256_and_si256(large, codes.high[i]);
    magnitudes = _mm256_add_epi16(
        magnitudes,
        _mm256_add_epi16(
            _mm256_abs_epi16(split.kept[i]),
            _mm256_abs_epi16(split.excess[i])));
  }
  split.most = reduce_add(_mm256_madd_epi16(magnitudes, _mm256_set1_epi16(1)));
  return split;
}

inline __m256i to_bytes(const __m256i* x) {
  return _mm256_permute4x64_epi64(_mm256_packs_epi16(x[0], x[1]), 0xd8);
}

/// A group whose high codes aren't all zero: what is left of its codes in 8
/// bits. Up to twice as much becomes part of what its sums start with, and is
/// counted in sum, unless they would not fit in 16 bits; what is more is an
/// outlier.
inline __m256i take_outliers(
    const std::int8_t* codes,
    int group,
    const PairShape& shape,
    std::int16_t& sum,
    PairMemory& memory) {
  constexpr int kMostSum = 32767 / kMostPairOffset;
  const GroupCodes all(codes);
  SplitCodes split = split_codes(all, 2 * (kHighUnit - 1));
  if (split.most > kMostSum) {
    split = split_codes(all, -1);
  }
  const auto line_of = [&](unsigned line) {
    const int pair = group / kPairGroups % kPairsAtATime;
    return static_cast<unsigned>(pair * kPairLines) + line;
  };
  each_line(to_bytes(split.excess), [&](unsigned line, int two, int codes_sum) {
    memory.excess.push_back({in_lane(two, group), line_of(line)});
    sum = static_cast<std::int16_t>(sum + codes_sum);
  });
  each_line(to_bytes(split.high), [&](unsigned line, int two, int codes_sum) {
    memory.outliers.push_back(
        {in_lane(two, group),
         in_lane(-shape.offset * codes_sum, group),
         line_of(line)});
  });
  return to_bytes(split.kept);
}

/// k of eight groups, 16 bits each.
inline __m128i pair_factors(const float* scales, __m256 inverse) {
  const __m256i k =
      _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(scales), inverse));
  // Saturates at kMostFactor.
  return _mm_packs_epi32(
      _mm256_castsi256_si128(k),
      _mm256_extracti128_si256(k, 1));
}

/// A pair's codes of a token as PairTile takes them, their sums as pair_sums()
/// gives them. excess: what take_outliers() counts, of each group.
inline __m128i prepare_pair(
    const QuantizedRows& x,
    std::ptrdiff_t row,
    int first,
    const PairShape& shape,
    std::int16_t* excess,
    PairMemory& memory,
    std::int8_t* to) {
  __m256i codes[kPairGroups];
#pragma GCC unroll 2
  for (int i = 0; i < kPairGroups; ++i) {
    const int group = first + i;
    if (group >= shape.groups) {
      codes[i] = _mm256_setzero_si256();
      continue;
    }
    const std::int8_t* both = x.codes + (row + group) * kPlanes * kGroup;
    codes[i] = x.high[row + group] == 0
                   ? load_codes(both + kGroup)
                   : take_outliers(both, group, shape, excess[i], memory);
  }
  interleave_pair(codes[0], codes[1], to);
  return pair_sums(codes[0], codes[1]);
}

/// PairTile's codes, parts and quanta of a token.
void prepare_token(
    const QuantizedRows& x,
    int token,
    const PairShape& shape,
    std::size_t in_call,
    PairMemory& memory) {
  const std::ptrdiff_t row = std::ptrdiff_t{token} * shape.groups;
  const float* scales = x.scales + row;
  const float quantum =
      row_quantum(largest_of(scales, static_cast<std::size_t>(shape.groups)));
  memory.quanta.data()[in_call] = quantum;
  const __m256 inverse = _mm256_set1_ps(1.0f / quantum);
  std::int8_t* to = memory.codes.data() +
                    in_call * static_cast<std::size_t>(shape.pairs) * kPairCols;
  TokenPair* parts = memory.parts.data() +
                     in_call * static_cast<std::size_t>(shape.part_stride);
  constexpr int kPartGroups = kPartPairs * kPairGroups;
  for (int first = 0; first < shape.pairs; first += kPartPairs) {
    if (first % kPairsAtATime == 0) {
      memory.firsts.push_back({memory.excess.size(), memory.outliers.size()});
    }
    const int group = first * kPairGroups;
    alignas(16) std::int16_t excess[kPartGroups] = {};
    __m128i sums[kPartPairs];
    for (int i = 0; i < kPartPairs; ++i) {
      sums[i] = first + i < shape.pairs
                    ? prepare_pair(
                          x,
                          row,
                          group + kPairGroups * i,
                          shape,
                          excess + kPairGroups * i,
                          memory,
                          to + std::ptrdiff_t{first + i} * kPairCols)
                    : _mm_set1_epi16(kGroup * kHighUnit);
    }
    alignas(32) float last[kPartGroups] = {};
    const float* own_scales = scales + group;
    if (group + kPartGroups > shape.groups) {
      std::memcpy(
          last,
          own_scales,
          sizeof(float) * static_cast<std::size_t>(shape.groups - group));
      own_scales = last;
    }
    const __m128i four = _mm_unpacklo_epi64(
        _mm_unpacklo_epi32(sums[0], sums[1]),
        _mm_unpacklo_epi32(sums[2], sums[3]));
    const __m128i all = _mm_add_epi16(
        _mm_sub_epi16(four, _mm_set1_epi16(kGroup * kHighUnit)),
        _mm_load_si128(reinterpret_cast<const __m128i*>(excess)));
    const __m128i starts = _mm_mullo_epi16(
        all,
        _mm_set1_epi16(static_cast<std::int16_t>(-shape.offset)));
    const __m128i factors = pair_factors(own_scales, inverse);
    auto* part = reinterpret_cast<__m128i*>(parts + first);
    _mm_store_si128(part, _mm_unpacklo_epi32(starts, factors));
    _mm_store_si128(part + 1, _mm_unpackhi_epi32(starts, factors));
  }
}

void prepare_tokens(
    const QuantizedRows& x,
    int token_begin,
    const PairShape& shape,
    PairMemory& memory) {
  const auto tokens = static_cast<std::size_t>(shape.tokens);
  memory.sums.grow(tokens * kRowBlock);
  memory.w.grow(std::size_t{kPairsAtATime} * kPairCodes);
  memory.scales.grow(std::size_t{kPairsAtATime} * kPairScales);
  FoundTokens asked(x, token_begin, shape.tokens);
  asked.center = shape.offset;
  if (is_found(memory.found, asked)) {
    return;
  }
  memory.codes.grow(tokens * static_cast<std::size_t>(shape.pairs) * kPairCols);
  memory.parts.grow(tokens * static_cast<std::size_t>(shape.part_stride));
  memory.quanta.grow(tokens);
  memory.excess.clear();
  memory.outliers.clear();
  memory.firsts.clear();
  for (int t = 0; t < shape.tokens; ++t) {
    prepare_token(
        x,
        token_begin + t,
        shape,
        static_cast<std::size_t>(t),
        memory);
  }
  memory.firsts.push_back({memory.excess.size(), memory.outliers.size()});
}

}  // namespace

}  // namespace roofline
