// AVX2 without VNNI: a row block at a time, for a single token
// (one_token_avx2.h), for more (word_product_avx2.h) or for trimmed rows
// (pair_product_avx2.h, unpacked_product_avx2.h, byte_product_avx2.h); the
// exact product takes its halves of 8 rows one after the other.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "roofline/kernels/qmm/byte_product_avx2.h"
#include "roofline/kernels/qmm/codes_avx2.h"
#include "roofline/kernels/qmm/one_token_avx2.h"
#include "roofline/kernels/qmm/pair_product_avx2.h"
#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/quantize_four_avx2.h"
#include "roofline/kernels/qmm/trim_avx2.h"
#include "roofline/kernels/qmm/unpacked_product_avx2.h"
#include "roofline/kernels/qmm/word_product_avx2.h"

namespace roofline {

namespace {

constexpr int kMostExact = 8;

struct HalfTile {
  BlockGroups block;
  int codes_at;   ///< of the half's rows in a line
  int scales_at;  ///< in a set
  int groups;
  float unit;
  __m256i table;  ///< 16 bytes, twice
  __m256i rows;   ///< which of the 8 rows exist
  float* y;
  std::ptrdiff_t ldy;
};

template <PackedFormat kFormat, int kTokens>
void exact_tile(const HalfTile& tile, const float* x, int token) {
  constexpr bool kNibbles = has_nibbles(kFormat);
  constexpr int kLineCodes = kNibbles ? 8 : 4;
  constexpr int kSetLines = kGroup / kLineCodes / scale_sets(kFormat);
  const std::ptrdiff_t cols = std::ptrdiff_t{tile.groups} * kGroup;
  const __m256i mask = _mm256_set1_epi32(0xff);
  x += token * cols;
  __m256 y[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    y[t] = _mm256_setzero_ps();
  }
  for (int g = 0; g < tile.groups; ++g) {
    const std::byte* stream = tile.block.codes(g) + tile.codes_at;
    for (int line = 0; line < kGroup / kLineCodes; ++line) {
      const std::byte* own =
          tile.block.scales(g, line / kSetLines) + tile.scales_at;
      const __m256 scale = load_halves(own);
      const __m256 bias = load_bias(tile.block, own, scale);
      const LineValues<kFormat> bytes(stream + 64 * line, tile.table);
#pragma GCC unroll 8
      for (int c = 0; c < kLineCodes; ++c) {
        const __m256i code = _mm256_and_si256(
            _mm256_srli_epi32(c < 4 ? bytes.low : bytes.high, 8 * (c % 4)),
            mask);
        const __m256 w = _mm256_fmadd_ps(_mm256_cvtepi32_ps(code), scale, bias);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          y[t] = _mm256_fmadd_ps(w, _mm256_set1_ps(x[t * cols + c]), y[t]);
        }
      }
      x += kLineCodes;
    }
  }
  const __m256 unit = _mm256_set1_ps(tile.unit);
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    _mm256_maskstore_ps(
        tile.y + (token + t) * tile.ldy,
        tile.rows,
        _mm256_mul_ps(y[t], unit));
  }
}

using ExactTile = void (*)(const HalfTile&, const float*, int);

template <PackedFormat kFormat, int... kCounts>
constexpr std::array<ExactTile, sizeof...(kCounts)> exact_tiles(
    std::integer_sequence<int, kCounts...>) {
  return {exact_tile<kFormat, kCounts + 1>...};
}

/// On a Zen 3 batches of 8 sequences decode at 1.12 (SmolLM2) and 1.08 (Gemma 3
/// 270M) of what they do with the whole head, of 16 at 1.17 and 1.42; of 4 at
/// 0.97 and 1.18.
constexpr int kLeastCoarseRows = 8;

/// What takes trimmed rows.
decltype(QmmKernels::fast) trimmed_product(const PackedMatrix& w) {
  if (w.format != PackedFormat::q4) {
    return byte_product;
  }
  const bool centred =
      w.offset >= kLeastPairOffset && w.offset <= kMostPairOffset;
  return centred ? pair_product : unpacked_product;
}

void fast(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  if (x.high != nullptr) {
    const auto product = trimmed_product(w);
    product(w, block_begin, block_end, x, token_begin, token_end, y, ldy);
    return;
  }
  if (token_end - token_begin == 1) {
    one_token(w, block_begin, block_end, x, token_begin, y, ldy);
    return;
  }
  word_product(w, block_begin, block_end, x, token_begin, token_end, y, ldy);
}

void exact(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const float* x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  using Counts = std::make_integer_sequence<int, kMostExact>;
  static constexpr auto kTiles = by_format(
      []<PackedFormat kFormat>() { return exact_tiles<kFormat>(Counts{}); });
  const auto& tiles = kTiles[format_index(w.format)];
  HalfTile tile{};
  tile.groups = w.groups();
  tile.unit = w.unit;
  tile.table = load_table(w);
  tile.ldy = ldy;
  const int end = std::min(w.rows, block_end * kRowBlock);
  for (int first = block_begin * kRowBlock; first < end; first += kHalf) {
    const int half = first / kHalf % 2;
    tile.block = w.block_groups(first / kRowBlock);
    tile.codes_at = kHalfLine * half;
    tile.scales_at = kSetScales / kHalves * half;
    tile.rows = first_lanes(w.rows - first);
    tile.y = y + first;
    for (int token = token_begin; token < token_end; token += kMostExact) {
      const int tokens = std::min(kMostExact, token_end - token);
      tiles[static_cast<std::size_t>(tokens - 1)](tile, x, token);
    }
  }
}

}  // namespace

const QmmKernels& qmm_avx2() {
  static constexpr QmmKernels kKernels{
      "avx2",
      quantize_in_fours<quantize_four, quantize_group>,
      fast,
      exact,
      trim_to_quanta,
      true,
      kLeastCoarseRows};
  return kKernels;
}

}  // namespace roofline
