// The panel kernel over a vector type V (simd/vec_*.h): a block of V::kTileRows
// rows times V::kTileVecs vectors stays in registers along the depth. Included
// only by instantiating files.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "roofline/base/half.h"
#include "roofline/kernels/gemm/gemm_variants.h"

namespace roofline {
namespace {

struct GemmTile {
  const float* a;
  std::ptrdiff_t row_stride;
  std::ptrdiff_t col_stride;
  const float* b;
  std::ptrdiff_t leading;
  int depth;
  float* c;
  std::ptrdiff_t ldc;
  /// Columns of the last vector: at most V::kWidth.
  int last;
  bool accumulate;
};

template <class V, int ROWS, int VECS>
void gemm_tile(const GemmTile& t) {
  V sums[ROWS][VECS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      sums[r][v] = V::all(0.0f);
    }
  }
  const float* a = t.a;
  const float* b = t.b;
  for (int k = 0; k < t.depth; ++k, a += t.col_stride, b += t.leading) {
    V row[VECS];
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) {
      row[v] = V::load(b + v * V::kWidth);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const V factor = V::all(a[r * t.row_stride]);
#pragma GCC unroll 4
      for (int v = 0; v < VECS; ++v) {
        sums[r][v] = fma(factor, row[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    float* c = t.c + r * t.ldc;
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v, c += V::kWidth) {
      const bool whole = v + 1 < VECS || t.last == V::kWidth;
      if (t.accumulate) {
        sums[r][v] = sums[r][v] + (whole ? V::load(c) : V::load(c, t.last));
      }
      if (whole) {
        sums[r][v].store(c);
      } else {
        sums[r][v].store(c, t.last);
      }
    }
  }
}

template <class V, int VECS>
void gemm_rows(GemmTile t, int rows) {
  constexpr int kRows = V::kTileRows;
  for (; rows >= kRows; rows -= kRows) {
    gemm_tile<V, kRows, VECS>(t);
    t.a += kRows * t.row_stride;
    t.c += kRows * t.ldc;
  }
  for (; rows >= 2; rows -= 2) {
    gemm_tile<V, 2, VECS>(t);
    t.a += 2 * t.row_stride;
    t.c += 2 * t.ldc;
  }
  if (rows > 0) {
    gemm_tile<V, 1, VECS>(t);
  }
}

template <class V>
void gemm_panel(
    const GemmLeft& a,
    int rows,
    const float* b,
    std::ptrdiff_t leading,
    int depth,
    int columns,
    float* c,
    std::ptrdiff_t ldc,
    bool accumulate) {
  const int vecs = (columns + V::kWidth - 1) / V::kWidth;
  const GemmTile t{
      a.data,
      a.row_stride,
      a.col_stride,
      b,
      leading,
      depth,
      c,
      ldc,
      columns - (vecs - 1) * V::kWidth,
      accumulate};
  switch (vecs) {
    case 1:
      return gemm_rows<V, 1>(t, rows);
    case 2:
      return gemm_rows<V, 2>(t, rows);
    case 3:
      return gemm_rows<V, std::min(3, V::kTileVecs)>(t, rows);
    default:
      return gemm_rows<V, V::kTileVecs>(t, rows);
  }
}

template <class V>
void gemm_turn(
    const float* rows,
    std::ptrdiff_t stride,
    int count,
    int depth,
    float* out) {
  constexpr int kWidth = V::kWidth;
  constexpr int kPanel = V::kTileVecs * kWidth;
  for (int first = 0; first < kPanel; first += kWidth) {
    for (int k = 0; k < depth; k += kWidth) {
      const int left = std::min(kWidth, depth - k);
      V block[kWidth];
      for (int r = 0; r < kWidth; ++r) {
        const float* from = rows + (first + r) * stride + k;
        block[r] = first + r >= count ? V::all(0.0f)
                   : left == kWidth   ? V::load(from)
                                      : V::load(from, left);
      }
      transpose(block);
      for (int i = 0; i < left; ++i) {
        block[i].store(out + (k + i) * kPanel + first);
      }
    }
  }
}

/// kLines lines of 64 bytes with kParts columns each. factors: scales and
/// biases of 16 rows, in kSets sets that share the columns. table: what a code
/// stands for, with kTable.
template <int kLines, int kSets, bool kTable>
inline void gemm_unpack_lines(
    const std::byte* codes,
    const float* factors,
    const float* table,
    float* out,
    std::ptrdiff_t stride) {
  constexpr int kParts = kGroup / kLines;
  constexpr std::uint32_t kMask = kParts == 8 ? 15 : 255;
  for (int line = 0; line < kLines; ++line) {
    const float* scales =
        factors + line * kSets / kLines * std::ptrdiff_t{2 * kRowBlock};
    const float* biases = scales + kRowBlock;
    std::uint32_t words[kRowBlock];
    std::memcpy(words, codes + 64 * line, sizeof(words));
    for (int part = 0; part < kParts; ++part) {
      const int shift = 8 * (part % 4) + (part >= 4 ? 4 : 0);
      float* to = out + (line * kParts + part) * stride;
      for (int r = 0; r < kRowBlock; ++r) {
        const auto code =
            static_cast<std::int32_t>((words[r] >> shift) & kMask);
        const float value = kTable ? table[code] : static_cast<float>(code);
        to[r] = scales[r] * value + biases[r];
      }
    }
  }
}

template <class V>
void gemm_unpack(
    const PackedMatrix& w,
    int block,
    int group,
    float* out,
    std::ptrdiff_t stride) {
  const BlockGroups groups = w.block_groups(block);
  const std::byte* codes = groups.codes(group);
  float factors[4 * kRowBlock];
  for (int set = 0; set < scale_sets(w.format); ++set) {
    std::uint16_t halves[2 * kRowBlock] = {};
    std::memcpy(
        halves,
        groups.scales(group, set),
        static_cast<std::size_t>(groups.set_bytes));
    float* scales = factors + set * 2 * kRowBlock;
    for (int i = 0; i < kRowBlock; ++i) {
      scales[i] = w.unit * f16_to_f32(halves[i]);
      scales[kRowBlock + i] = groups.biases
                                  ? w.unit * f16_to_f32(halves[kRowBlock + i])
                                  : scales[i] * groups.minus_offset;
    }
  }
  float table[std::tuple_size_v<CodeTable>] = {};
  if (has_table(w.format)) {
    std::copy(w.table.begin(), w.table.end(), table);
  }
  switch (w.format) {
    case PackedFormat::q4:
      return gemm_unpack_lines<4, 1, false>(codes, factors, table, out, stride);
    case PackedFormat::q4_table:
      return gemm_unpack_lines<4, 1, true>(codes, factors, table, out, stride);
    case PackedFormat::q4_16:
      return gemm_unpack_lines<4, 2, true>(codes, factors, table, out, stride);
    case PackedFormat::q8_16:
      return gemm_unpack_lines<8, 2, false>(codes, factors, table, out, stride);
    default:
      return gemm_unpack_lines<8, 1, false>(codes, factors, table, out, stride);
  }
}

template <class V>
constexpr GemmKernels gemm_kernels_of(const char* name) {
  return {
      name,
      V::kTileVecs * V::kWidth,
      gemm_turn<V>,
      gemm_unpack<V>,
      gemm_panel<V>};
}

}  // namespace
}  // namespace roofline
