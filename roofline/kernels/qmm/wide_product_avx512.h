// Products with many tokens, cut into the tiles of wide_tile_avx512.h: what all
// tiles of a call read is found out once. Included by qmm_avx512.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/wide_tile_avx512.h"

namespace roofline {

namespace {

/// Whether so many tokens can be cut into wide tiles: all but 1, 2, 3 and 7. A
/// product of 4 to 6 takes 6 to 11 % less in them than in tiles of one block.
constexpr bool fits_wide(int tokens) {
  return tokens >= kLeastWide && tokens != kMostWide + 1;
}

/// Which groups have high codes for one of some tokens, and where: the bits of
/// QuantizedRows::high together.
void find_high(const QuantizedRows& x, int begin, int end, std::uint8_t* high) {
  const std::ptrdiff_t groups = x.cols / kGroup;
  if (x.high == nullptr) {
    std::fill(high, high + groups, std::uint8_t{0xff});
    return;
  }
  constexpr std::ptrdiff_t kBytes = 64;
  for (std::ptrdiff_t g = 0; g < groups; g += kBytes) {
    const std::ptrdiff_t left = std::min(kBytes, groups - g);
    const __mmask64 mask = ~__mmask64{0} >> (kBytes - left);
    __m512i any = _mm512_setzero_si512();
    for (int t = begin; t < end; ++t) {
      any = _mm512_or_si512(
          any,
          _mm512_maskz_loadu_epi8(mask, x.high + t * groups + g));
    }
    _mm512_mask_storeu_epi8(high + g, mask, any);
  }
}

/// WideTile::starts of tokens [begin, end).
void find_starts(
    const PackedMatrix& w,
    const QuantizedRows& x,
    int begin,
    int end,
    std::int32_t* starts) {
  const std::ptrdiff_t groups = x.cols / kGroup;
  const std::int32_t* sums = x.code_sums + begin * groups;
  const std::ptrdiff_t count = (end - begin) * groups;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    starts[i] = -w.offset * sums[i];
  }
}

using WideTileFn = void (*)(const WideTile&, const QuantizedRows&, int);

template <PackedFormat kFormat>
constexpr std::array<WideTileFn, kMostWide - kLeastWide + 1> kWideTiles = {
    wide_tile<kFormat, 4>,
    wide_tile<kFormat, 5>,
    wide_tile<kFormat, 6>};

constexpr auto kAllWideTiles =
    by_format([]<PackedFormat kFormat>() { return kWideTiles<kFormat>; });

/// Rows of y this far apart (a head's logits) come from memory, and lie in one
/// place of both caches, which has room for 16 lines: sums of more tokens are
/// written in runs of kRunBlocks row blocks a token.
constexpr int kFarRows = 16 * 1024;
constexpr int kFewFar = 16;
constexpr int kRunBlocks = 16;

/// Sums of up to kRunBlocks row blocks, on their way to rows of y far apart.
class RowRuns {
 public:
  RowRuns(int tokens, float* y, int ldy) : tokens_(tokens), y_(y), ldy_(ldy) {
    memory().grow(static_cast<std::size_t>(tokens) * kLdy);
  }
  static constexpr int kLdy = kRunBlocks * kRowBlock;
  static float* sums() { return memory().data(); }
  /// rows: of each token, from row `first` of y on.
  void write(int first, int rows) const {
    for (int t = 0; t < tokens_; ++t) {
      std::memcpy(
          y_ + static_cast<std::ptrdiff_t>(t) * ldy_ + first,
          sums() + static_cast<std::ptrdiff_t>(t) * kLdy,
          sizeof(float) * static_cast<std::size_t>(rows));
    }
  }

 private:
  static AlignedBuffer<float>& memory() {
    thread_local AlignedBuffer<float> memory;
    return memory;
  }
  int tokens_;
  float* y_;
  int ldy_;
};

/// Tokens · groups of a call, so that what find_starts() tells of them stays in
/// the cache (64 KiB), but never fewer than kLeastRoom tokens.
constexpr int kMostStarts = 16 * 1024;
/// Tokens cut into parts of at most so many are at least half as many each,
/// which fits_wide().
constexpr int kLeastRoom = 16;
static_assert(kLeastRoom / 2 > kMostWide + 1);

/// Pairs of row blocks outside, tiles of tokens inside, as in product(). There
/// are tokens that fits_wide().
void wide_product(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const int tokens = token_end - token_begin;
  const int parts = (tokens + kMostWide - 1) / kMostWide;
  // Full tiles, but for the last ones, which take what is missing.
  const int missing = parts * kMostWide - tokens;
  const auto border = [&](int part) {
    constexpr int kMostShort = kMostWide - kLeastWide;
    const int after = parts - part;
    return token_end - kMostWide * after +
           std::min(missing, kMostShort * after);
  };
  const int groups = w.groups();
  thread_local AlignedBuffer<std::int32_t> starts_memory;
  thread_local AlignedBuffer<std::uint8_t> high_memory;
  const auto each = static_cast<std::size_t>(groups);
  starts_memory.grow(static_cast<std::size_t>(tokens) * each);
  high_memory.grow(static_cast<std::size_t>(parts) * each);
  std::int32_t* starts = starts_memory.data();
  std::uint8_t* high = high_memory.data();
  find_starts(w, x, token_begin, token_end, starts);
  for (int part = 0; part < parts; ++part) {
    find_high(x, border(part), border(part + 1), high + part * each);
  }
  WideTile tile{};
  tile.groups = groups;
  tile.next = w.block_bytes();
  tile.unit = w.unit;
  tile.table = load_table(w);
  tile.starts = starts;
  tile.first_token = token_begin;
  tile.ldy = ldy;
  tile.ahead_step = parts;
  const auto& tiles = kAllWideTiles[format_index(w.format)];
  const bool far = ldy >= kFarRows && tokens > kFewFar;
  const RowRuns runs(
      far ? tokens : 0,
      y + std::ptrdiff_t{token_begin} * ldy,
      ldy);
  int run_begin = block_begin;
  if (far) {
    tile.ldy = RowRuns::kLdy;
  }
  for (int block = block_begin; block < block_end; block += kWideBlocks) {
    const int first = block * kRowBlock;
    const int last = std::min(kRowBlock, w.rows - first - kRowBlock);
    tile.block = w.block_groups(block);
    tile.last_rows = static_cast<__mmask16>((1u << last) - 1);
    tile.y = far ? RowRuns::sums() + (block - run_begin) * kRowBlock -
                       std::ptrdiff_t{token_begin} * RowRuns::kLdy
                 : y + first;
    for (int part = 0; part < parts; ++part) {
      // The weights come from memory: each tile asks for its part of the next.
      tile.ahead = part;
      tile.high = high + part * each;
      const int begin = border(part);
      const int count = border(part + 1) - begin;
      tiles[static_cast<std::size_t>(count - kLeastWide)](tile, x, begin);
    }
    const int done = block + kWideBlocks;
    if (far && (done - run_begin == kRunBlocks || done >= block_end)) {
      const int row = run_begin * kRowBlock;
      runs.write(row, std::min(w.rows, done * kRowBlock) - row);
      run_begin = done;
    }
  }
}

/// Does what wide tiles can do of a product with many tokens; returns the first
/// block that is left.
int wide(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const int end = block_end - (block_end - block_begin) % kWideBlocks;
  if (end == block_begin) {
    return block_begin;
  }
  const int room = std::max(kMostStarts / w.groups(), kLeastRoom);
  each_token_chunk(token_begin, token_end, room, [&](int begin, int stop) {
    wide_product(w, block_begin, end, x, begin, stop, y, ldy);
  });
  return end;
}

}  // namespace

}  // namespace roofline
