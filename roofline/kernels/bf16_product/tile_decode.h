// Blocks of weights as right sides of tiles: 16 rows × 32 columns become 16
// registers, register i with columns 2i and 2i + 1 of all 16 rows as pairs of
// bfloat16. Included by files compiled for AMX only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "roofline/kernels/packed_matrix.h"
#include "roofline/kernels/qmm/codes_avx512.h"
#include "roofline/kernels/simd/bf16_pairs.h"
#include "roofline/kernels/simd/vec_avx512.h"

namespace roofline {
namespace {

/// Words of a tile.
constexpr int kTileWords = 256;

/// Four columns from a code in each byte of the rows' words. A code's bits are
/// put behind the point of a float in [1, 2), exactly: 1 + code / 256. scale is
/// 256 times the matrix's, bias the matrix's less that.
inline void decode_four(
    __m512i codes,
    __m512 scale,
    __m512 bias,
    std::uint32_t* out) {
  const __m512i one = _mm512_set1_epi32(0x3f800000);
  const __m512i mask = _mm512_set1_epi32(0xff << 15);
  constexpr int kMaskThenOr = 0xea;  // (a & b) | c
  const auto value = [&](__m512i shifted) {
    const __m512i bits =
        _mm512_ternarylogic_epi32(shifted, mask, one, kMaskThenOr);
    return _mm512_fmadd_ps(_mm512_castsi512_ps(bits), scale, bias);
  };
  const __m512 a = value(_mm512_slli_epi32(codes, 15));
  const __m512 b = value(_mm512_slli_epi32(codes, 7));
  const __m512 c = value(_mm512_srli_epi32(codes, 1));
  const __m512 d = value(_mm512_srli_epi32(codes, 9));
  _mm512_storeu_si512(out, pairs_of(a, b));
  _mm512_storeu_si512(out + kTileWords / 16, pairs_of(c, d));
}

/// One group of 32 columns of a quantized block.
template <PackedFormat kFormat>
void decode_group(
    const BlockGroups& groups,
    int group,
    __m512i table,
    float unit,
    std::uint32_t* out) {
  constexpr int kSets = scale_sets(kFormat);
  constexpr int kLineCols = has_nibbles(kFormat) ? 8 : 4;
  constexpr int kSetLines = kGroup / kLineCols / kSets;
  constexpr int kFourWords = 2 * kTileWords / 16;
  for (int set = 0; set < kSets; ++set) {
    const std::byte* halves = groups.scales(group, set);
    const __m512 scale =
        _mm512_mul_ps(load_halves(halves), _mm512_set1_ps(256 * unit));
    const __m512 own_bias =
        groups.biases
            ? _mm512_mul_ps(
                  load_halves(halves + kSetScales),
                  _mm512_set1_ps(unit))
            : _mm512_mul_ps(scale, _mm512_set1_ps(groups.minus_offset / 256));
    const __m512 bias = _mm512_sub_ps(own_bias, scale);
    const std::byte* lines =
        groups.codes(group) + set * (code_bytes(kFormat) / kSets);
#pragma GCC unroll 8
    for (int i = 0; i < kSetLines; ++i) {
      __m512i codes = _mm512_loadu_si512(lines + 64 * i);
      if constexpr (has_nibbles(kFormat)) {
        __m512i high;
        split_line<kFormat>(codes, table, codes, high);
        decode_four(codes, scale, bias, out);
        decode_four(high, scale, bias, out + kFourWords);
        out += 2 * kFourWords;
      } else {
        decode_four(codes, scale, bias, out);
        out += kFourWords;
      }
    }
  }
}

template <PackedFormat kFormat>
void decode_quantized(
    const PackedMatrix& w,
    int block,
    int tile_begin,
    int tile_end,
    std::uint32_t* out) {
  const __m512i table = load_table(w);
  const BlockGroups groups = w.block_groups(block);
  for (int i = tile_begin; i < tile_end; ++i) {
    decode_group<kFormat>(groups, i, table, w.unit, out);
    out += kTileWords;
  }
}

/// The bytes of a block that tiles [tile_begin, tile_end) come from; none of a
/// dense matrix, whose rows are apart.
inline std::span<const std::byte> tile_bytes(
    const PackedMatrix& w,
    int block,
    int tile_begin,
    int tile_end) {
  if (!w.quantized() || tile_begin >= tile_end || block >= w.row_blocks()) {
    return {};
  }
  const BlockGroups groups = w.block_groups(block);
  return {
      groups.unit(tile_begin),
      groups.codes(tile_end - 1) + groups.code_bytes};
}

/// What blocks will be decoded from, asked for while others are multiplied: a
/// line from each of two at a time.
class CodesAhead {
 public:
  static constexpr std::ptrdiff_t kLine = 64;

  CodesAhead() = default;
  CodesAhead(std::span<const std::byte> first, std::span<const std::byte> other)
      : first_(first.data()),
        other_(other.empty() ? first_ : other.data()),
        bytes_(static_cast<std::ptrdiff_t>(first.size())) {}

  [[gnu::always_inline]] void operator()() {
    if (at_ < bytes_) {
      __builtin_prefetch(first_ + at_, 0, 2);
      __builtin_prefetch(other_ + at_, 0, 2);
      at_ += kLine;
    }
  }

 private:
  const std::byte* first_ = nullptr;
  const std::byte* other_ = nullptr;
  std::ptrdiff_t bytes_ = 0;
  std::ptrdiff_t at_ = 0;
};

/// Of two blocks, the second of which may not be there.
inline CodesAhead codes_of_pair(
    const PackedMatrix& w,
    int block,
    int k,
    int k_end) {
  return {tile_bytes(w, block, k, k_end), tile_bytes(w, block + 1, k, k_end)};
}

/// 16 values of a dense row from a column on; only `count` of them are there.
template <PackedFormat kFormat>
__m512 load_dense(const std::byte* row, std::ptrdiff_t col, int count) {
  const __mmask16 mask = Vec::mask(std::clamp(count, 0, 16));
  if constexpr (kFormat == PackedFormat::f32) {
    return _mm512_maskz_loadu_ps(mask, row + 4 * col);
  } else {
    const __m256i halves = _mm256_maskz_loadu_epi16(mask, row + 2 * col);
    if constexpr (kFormat == PackedFormat::f16) {
      return _mm512_cvtph_ps(halves);
    } else {
      return _mm512_castsi512_ps(
          _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
  }
}

template <PackedFormat kFormat>
void decode_dense(
    const PackedMatrix& w,
    int block,
    int tile_begin,
    int tile_end,
    std::uint32_t* out) {
  constexpr std::ptrdiff_t kBytes = kFormat == PackedFormat::f32 ? 4 : 2;
  const int first = block * kRowBlock;
  const int rows = std::min(kRowBlock, w.rows - first);
  for (int tile = tile_begin; tile < tile_end; ++tile, out += kTileWords) {
    const int col = tile * kGroup;
    Vec lines[kRowBlock];
    for (int r = 0; r < kRowBlock; ++r) {
      const std::byte* row =
          w.data + (first + std::min(r, rows - 1)) * kBytes * w.cols;
      const int count = r < rows ? w.cols - col : 0;
      const __m512 low = load_dense<kFormat>(row, col, count);
      const __m512 high = load_dense<kFormat>(row, col + 16, count - 16);
      lines[r].v = _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    transpose(lines);
    for (int i = 0; i < kRowBlock; ++i) {
      _mm512_storeu_ps(out + i * kRowBlock, lines[i].v);
    }
  }
}

/// A decoded tile as halves of two right sides whose depth is its rows: out[0]
/// of its first 16 columns, out[1] of the others, 8 rows of pairs each.
inline void turn_tile(const std::uint32_t* tile, std::uint32_t* const* out) {
  // Of the words of two rows, (a0 a1 b0 b1), pairs of rows: (a0 b0 a1 b1).
  const __m512i pair_rows = _mm512_broadcast_i32x4(
      _mm_set_epi8(15, 14, 11, 10, 13, 12, 9, 8, 7, 6, 3, 2, 5, 4, 1, 0));
  for (int half = 0; half < 2; ++half) {
    __m512i u[8];
    for (int i = 0; i < 8; ++i) {
      u[i] = _mm512_shuffle_epi8(
          _mm512_loadu_si512(tile + 16 * (8 * half + i)),
          pair_rows);
    }
    // Eight columns of eight pairs of 64 bits are transposed.
    for (int odd = 0; odd < 2; ++odd) {
      __m512i t[4];
      for (int i = 0; i < 4; ++i) {
        t[i] = odd == 0 ? _mm512_unpacklo_epi64(u[2 * i], u[2 * i + 1])
                        : _mm512_unpackhi_epi64(u[2 * i], u[2 * i + 1]);
      }
      const __m512i a = _mm512_shuffle_i64x2(t[0], t[1], 0x44);
      const __m512i b = _mm512_shuffle_i64x2(t[0], t[1], 0xee);
      const __m512i c = _mm512_shuffle_i64x2(t[2], t[3], 0x44);
      const __m512i d = _mm512_shuffle_i64x2(t[2], t[3], 0xee);
      std::uint32_t* to = out[half] + 16 * odd;
      _mm512_storeu_si512(to, _mm512_shuffle_i64x2(a, c, 0x88));
      _mm512_storeu_si512(to + 32, _mm512_shuffle_i64x2(a, c, 0xdd));
      _mm512_storeu_si512(to + 64, _mm512_shuffle_i64x2(b, d, 0x88));
      _mm512_storeu_si512(to + 96, _mm512_shuffle_i64x2(b, d, 0xdd));
    }
  }
}

using DecodeTiles =
    void (*)(const PackedMatrix&, int, int, int, std::uint32_t*);

/// What decodes tiles [tile_begin, tile_end) along a block's columns.
inline DecodeTiles tile_decoder(PackedFormat format) {
  switch (format) {
    case PackedFormat::f32:
      return decode_dense<PackedFormat::f32>;
    case PackedFormat::f16:
      return decode_dense<PackedFormat::f16>;
    case PackedFormat::bf16:
      return decode_dense<PackedFormat::bf16>;
    case PackedFormat::q4:
      return decode_quantized<PackedFormat::q4>;
    case PackedFormat::q8:
      return decode_quantized<PackedFormat::q8>;
    case PackedFormat::q4_table:
      return decode_quantized<PackedFormat::q4_table>;
    case PackedFormat::q4_16:
      return decode_quantized<PackedFormat::q4_16>;
    case PackedFormat::q8_16:
      return decode_quantized<PackedFormat::q8_16>;
  }
  return nullptr;
}

}  // namespace
}  // namespace roofline
