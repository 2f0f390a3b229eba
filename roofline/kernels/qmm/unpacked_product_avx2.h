// q4 products with trimmed rows on AVX2, in the tiles of unpacked_tile_avx2.h.
// What all row blocks of a call read of the tokens is found out once, and a row
// block's codes become bytes once for all tokens: 9 KB at 576 columns. Included
// by qmm_avx2.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/qmm/ask_ahead.h"
#include "roofline/kernels/qmm/found_tokens_avx2.h"
#include "roofline/kernels/qmm/trim_avx2.h"
#include "roofline/kernels/qmm/unpacked_tile_avx2.h"

namespace roofline {

namespace {

/// Largest offset with which 16 columns' (code − offset)·x still fit in 16
/// bits.
constexpr int kMostOffset = 16;

/// One thread's memory. What follows `found` is of its tokens.
struct UnpackedMemory {
  static UnpackedMemory& own() {
    thread_local UnpackedMemory memory;
    return memory;
  }

  AlignedBuffer<std::uint8_t> codes;
  AlignedBuffer<float> scales;  ///< biases follow
  FoundTokens found;
  AlignedBuffer<TokenGroup> parts;
  AlignedBuffer<float> sums;
  AlignedBuffer<float> quanta;
  std::vector<Outlier> outliers;
  std::vector<std::size_t> tile_outliers;  ///< each tile's first, and the end
};

/// Tokens of tiles: threes, and what is left in a two or a four. Calls
/// f(first token, tokens).
template <class F>
inline void each_token_tile(int begin, int end, F f) {
  for (int token = begin; token < end;) {
    const int left = end - token;
    const int tokens =
        left == kMostTileTokens || left <= 2 ? left : kBestTokens;
    f(token, tokens);
    token += tokens;
  }
}

/// [low, high] 16 bits.
inline std::int32_t two_halves(int low, int high) {
  return static_cast<std::int32_t>(
      (static_cast<std::uint32_t>(low) & 0xffffu) |
      static_cast<std::uint32_t>(high) << 16);
}

/// Groups whose parts are found together.
constexpr int kPartGroups = 8;

/// Codes of kPartGroups groups, added up over the columns whose products share
/// a 16-bit lane: two for each half of a group, of four groups the first halves
/// and then the second ones, in sums[0] and in sums[1].
inline void sum_half_lanes(const std::int8_t* codes, __m256i* sums) {
  __m256i pairs[kPartGroups];
#pragma GCC unroll 8
  for (int g = 0; g < kPartGroups; ++g) {
    pairs[g] = _mm256_maddubs_epi16(
        _mm256_set1_epi8(1),
        _mm256_loadu_si256(
            reinterpret_cast<const __m256i*>(codes + g * kPlanes * kGroup)));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    pairs[i] = _mm256_add_epi16(
        _mm256_unpacklo_epi32(pairs[2 * i], pairs[2 * i + 1]),
        _mm256_unpackhi_epi32(pairs[2 * i], pairs[2 * i + 1]));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    sums[i] = _mm256_add_epi16(
        _mm256_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
        _mm256_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
  }
}

/// The same of whole groups.
inline __m256i sum_lanes(const std::int8_t* codes) {
  __m256i sums[2];
  sum_half_lanes(codes, sums);
  return _mm256_add_epi16(
      _mm256_permute2x128_si256(sums[0], sums[1], 0x20),
      _mm256_permute2x128_si256(sums[0], sums[1], 0x31));
}

/// The parts of kPartGroups groups, the first of them at these low codes.
inline void find_group_parts(
    const std::int8_t* codes,
    const float* scales,
    __m256 inverse,
    __m256i minus_offset,
    TokenGroup* parts) {
  const __m256i starts = _mm256_mullo_epi16(sum_lanes(codes), minus_offset);
  const __m256i once = _mm256_min_epi32(
      _mm256_set1_epi32(kMostFactor),
      _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(scales), inverse)));
  const __m256i factors = _mm256_or_si256(once, _mm256_slli_epi32(once, 16));
  const __m256i low = _mm256_unpacklo_epi32(starts, factors);
  const __m256i high = _mm256_unpackhi_epi32(starts, factors);
  auto* to = reinterpret_cast<__m256i*>(parts);
  _mm256_storeu_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
}

/// UnpackedTile's parts, sums and quanta of tokens [begin, end).
void find_parts(
    const QuantizedRows& x,
    int begin,
    int end,
    int offset,
    float unit,
    UnpackedMemory& memory) {
  const int groups = x.cols / kGroup;
  const auto count = static_cast<std::size_t>(groups);
  const auto tokens = static_cast<std::size_t>(end - begin);
  // The last token's last groups may write past it.
  memory.parts.grow(tokens * count + kPartGroups);
  memory.sums.grow(tokens * count);
  memory.quanta.grow(tokens);
  const __m256i minus_offset =
      _mm256_set1_epi16(static_cast<std::int16_t>(-offset));
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::size_t first = (static_cast<std::size_t>(begin) + t) * count;
    const float* scales = x.scales + first;
    const float quantum = row_quantum(largest_of(scales, count));
    const __m256 inverse = _mm256_set1_ps(1.0f / quantum);
    const std::int8_t* codes = x.codes + first * kPlanes * kGroup + kGroup;
    TokenGroup* parts = memory.parts.data() + t * count;
    memory.quanta.data()[t] = quantum * unit;
    int g = 0;
    for (; g + kPartGroups <= groups; g += kPartGroups) {
      find_group_parts(
          codes + g * kPlanes * kGroup,
          scales + g,
          inverse,
          minus_offset,
          parts + g);
    }
    if (const int left = groups - g; left > 0) {
      alignas(64) std::int8_t codes_left[kPartGroups * kPlanes * kGroup] = {};
      float scales_left[kPartGroups] = {};
      std::memcpy(
          codes_left,
          codes + g * kPlanes * kGroup,
          static_cast<std::size_t>((left - 1) * kPlanes + 1) * kGroup);
      std::memcpy(scales_left, scales + g, sizeof(float) * left);
      find_group_parts(
          codes_left,
          scales_left,
          inverse,
          minus_offset,
          parts + g);
    }
  }
}

/// Σ xc·k of tokens [begin, end), for biases.
void find_sums(
    const QuantizedRows& x,
    int begin,
    int end,
    float unit,
    UnpackedMemory& memory) {
  const int groups = x.cols / kGroup;
  for (int t = begin; t < end; ++t) {
    const float* from = x.sums + static_cast<std::ptrdiff_t>(t) * groups;
    float* to =
        memory.sums.data() + static_cast<std::ptrdiff_t>(t - begin) * groups;
    const float inverse = unit / memory.quanta.data()[t - begin];
    for (int g = 0; g < groups; ++g) {
      to[g] = from[g] * inverse;
    }
  }
}

/// The outliers of a tile's tokens, in turn: what one adds to a token's sums,
/// the token's next one waits for. first: of the tile, counted in the call.
void find_outliers(
    const QuantizedRows& x,
    int token_begin,
    int first,
    int tokens,
    int offset,
    UnpackedMemory& memory) {
  const int groups = x.cols / kGroup;
  memory.tile_outliers.push_back(memory.outliers.size());
  constexpr int kBytes = 8;
  for (int g = 0; g < groups; g += kBytes) {
    for (int t = 0; t < tokens; ++t) {
      const std::ptrdiff_t row =
          static_cast<std::ptrdiff_t>(token_begin + first + t) * groups;
      const std::int8_t* codes = x.codes + row * kPlanes * kGroup;
      const TokenGroup* parts =
          memory.parts.data() + static_cast<std::ptrdiff_t>(first + t) * groups;
      std::uint64_t bits = 0;
      std::memcpy(
          &bits,
          x.high + row + g,
          static_cast<std::size_t>(std::min(kBytes, groups - g)));
      for (; bits != 0; bits &= bits - 1) {
        const auto line =
            static_cast<unsigned>(kQuads * g + std::countr_zero(bits));
        const unsigned group = line / kQuads;
        const std::int8_t* four =
            codes + group * kPlanes * kGroup + 4 * (line % kQuads);
        std::int32_t all = 0;
        std::memcpy(&all, four, sizeof(all));
        memory.outliers.push_back(
            {all,
             {two_halves(
                  -offset * (four[0] + four[1]),
                  -offset * (four[2] + four[3])),
              parts[group].factor},
             line,
             static_cast<unsigned>(t)});
      }
    }
  }
}

/// The outliers of all tiles of tokens [begin, end).
inline void find_all_outliers(
    const QuantizedRows& x,
    int begin,
    int end,
    int offset,
    UnpackedMemory& memory) {
  memory.outliers.clear();
  memory.tile_outliers.clear();
  each_token_tile(begin, end, [&](int first, int tokens) {
    find_outliers(x, begin, first - begin, tokens, offset, memory);
  });
  memory.tile_outliers.push_back(memory.outliers.size());
}

/// All that unpacked_tile() reads of tokens [begin, end). sums: whether biases
/// need them.
inline void find_tokens(
    const QuantizedRows& x,
    int begin,
    int end,
    int center,
    float unit,
    bool sums,
    UnpackedMemory& memory) {
  FoundTokens asked(x, begin, end - begin);
  asked.center = center;
  asked.unit = unit;
  asked.sums = sums ? 1 : 0;
  if (is_found(memory.found, asked)) {
    return;
  }
  find_parts(x, begin, end, center, unit, memory);
  if (sums) {
    find_sums(x, begin, end, unit, memory);
  }
  find_all_outliers(x, begin, end, center, memory);
}

/// A row block in bytes and floats. biases: whether they're wanted.
UnpackedBlock unpack(
    const PackedMatrix& w,
    int index,
    bool biases,
    UnpackedMemory& memory) {
  const BlockGroups block = w.block_groups(index);
  const int groups = w.groups();
  const auto count = static_cast<std::size_t>(groups);
  memory.codes.grow(count * kUnpackedCodes);
  memory.scales.grow(2 * count * kRowBlock);
  auto* codes = reinterpret_cast<__m256i*>(memory.codes.data());
  float* scales = memory.scales.data();
  float* own_biases = scales + std::ptrdiff_t{groups} * kRowBlock;
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  for (int g = 0; g < groups; ++g) {
    const std::byte* stream = block.codes(g);
    ask_ahead<PackedFormat::q4>(block, stream, g);
#pragma GCC unroll 4
    for (int i = 0; i < kQuads / 2; ++i) {
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        const __m256i line = load_line(stream + 64 * i + 32 * h);
        _mm256_store_si256(codes + h, _mm256_and_si256(line, nibble));
        _mm256_store_si256(
            codes + kHalves + h,
            _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble));
      }
      codes += 2 * kHalves;
    }
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const std::byte* own = block.scales(g) + kSetScales / kHalves * h;
      const __m256 scale = load_halves(own);
      const std::ptrdiff_t at = std::ptrdiff_t{g} * kRowBlock + kHalf * h;
      _mm256_store_ps(scales + at, scale);
      if (biases) {
        _mm256_store_ps(own_biases + at, load_bias(block, own, scale));
      }
    }
  }
  return {memory.codes.data(), scales, biases ? own_biases : nullptr};
}

using UnpackedTileFn = void (*)(const UnpackedTile&);

template <bool BIASES>
constexpr std::array<UnpackedTileFn, kMostTileTokens> kUnpackedTiles = {
    unpacked_tile<1, BIASES>,
    unpacked_tile<2, BIASES>,
    unpacked_tile<3, BIASES>,
    unpacked_tile<4, BIASES>};

/// QmmKernels::fast for q4 and trimmed rows.
void unpacked_chunk(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  UnpackedMemory& memory = UnpackedMemory::own();
  const bool biases = w.offset == 0 || w.offset > kMostOffset;
  const int offset = biases ? 0 : w.offset;
  const auto groups = static_cast<std::size_t>(w.groups());
  find_tokens(x, token_begin, token_end, offset, w.unit, biases, memory);
  const auto& tiles = biases ? kUnpackedTiles<true> : kUnpackedTiles<false>;
  UnpackedTile tile{};
  tile.groups = w.groups();
  tile.stride = std::ptrdiff_t{kPlanes} * x.cols;
  tile.ldy = ldy;
  for (int block = block_begin; block < block_end; ++block) {
    const int row = block * kRowBlock;
    tile.block = unpack(w, block, biases, memory);
    tile.rows[0] = first_lanes(w.rows - row);
    tile.rows[1] = first_lanes(w.rows - row - kHalf);
    const std::size_t* own = memory.tile_outliers.data();
    each_token_tile(token_begin, token_end, [&](int first, int tokens) {
      const auto in_call = static_cast<std::size_t>(first - token_begin);
      tile.codes = x.codes + first * tile.stride + kGroup;
      tile.parts = memory.parts.data() + in_call * groups;
      tile.sums = memory.sums.data() + in_call * groups;
      tile.quanta = memory.quanta.data() + in_call;
      tile.outliers = memory.outliers.data() + own[0];
      tile.outliers_end = memory.outliers.data() + own[1];
      ++own;
      tile.y = y + static_cast<std::ptrdiff_t>(first) * ldy + row;
      tiles[static_cast<std::size_t>(tokens - 1)](tile);
    });
  }
}

/// Tokens · groups of a chunk, so that what find_parts() tells of them stays in
/// the second cache, but never fewer than kLeastChunk tokens.
constexpr int kMostParts = 8 * 1024;
constexpr int kLeastChunk = 24;

void unpacked_product(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const int room = std::max(kMostParts / w.groups(), kLeastChunk);
  each_token_chunk(token_begin, token_end, room, [&](int begin, int end) {
    unpacked_chunk(w, block_begin, block_end, x, begin, end, y, ldy);
  });
}

}  // namespace

}  // namespace roofline
