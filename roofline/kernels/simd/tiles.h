// Matrix tiles for products in bfloat16: 2 × 2 sums of 16 × 16 floats, the two
// left sides and the two right sides they come from. AmxTiles has them in the
// processor's tile registers; EmulatedTiles does the same in memory, so that
// kernels written over either are tested where there is no AMX. Included by
// files compiled for AMX only.
//
// A left side is 16 rows of 32 bfloat16. A right side is 16 rows of 16 pairs:
// row i holds for each of 16 columns the values at depth 2i and 2i + 1. Rows
// are 64 bytes, `stride` bytes apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "roofline/base/half.h"

namespace roofline {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 64;              ///< of a row
constexpr int kTileDepth = kTileBytes / 2;  ///< values that a step sums
constexpr int kTileCols = kTileBytes / 4;   ///< of a right side
constexpr int kTileSize = kTileRows * kTileBytes;

// The names below are each including file's own: it may be compiled with other
// flags than the next.
namespace {

/// Holds the tiles from construction to destruction: both cost some hundred
/// cycles, and the system saves 8 KiB more for a thread that has them. Nothing
/// may wait in between.
class AmxTiles {
 public:
  AmxTiles() {
    struct alignas(64) {
      std::uint8_t palette = 1;
      std::uint8_t start_row = 0;
      std::uint8_t reserved[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    } config;
    for (int i = 0; i < 8; ++i) {
      config.row_bytes[i] = kTileBytes;
      config.rows[i] = kTileRows;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
  }
  ~AmxTiles() { __asm__ volatile("tilerelease" : : : "memory"); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  template <int kRow, int kCol>
  void zero_sum() {
    clear<sum(kRow, kCol)>();
  }
  template <int kRow, int kCol>
  void load_sum(const float* from, std::ptrdiff_t stride) {
    load<sum(kRow, kCol)>(from, stride);
  }
  template <int kRow, int kCol>
  void store_sum(float* to, std::ptrdiff_t stride) {
    __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)"
                     :
                     : "n"(sum(kRow, kCol)), "r"(to), "r"(stride)
                     : "memory");
  }
  template <int kRow>
  void load_left(const void* from, std::ptrdiff_t stride) {
    load<4 + kRow>(from, stride);
  }
  /// For what isn't read again soon: it doesn't drive the right sides out of
  /// the first cache. On an Emerald Rapids a step of 4 products takes 75 cycles
  /// with it and 100 without, of at least 64; prefetching made it 109.
  template <int kRow>
  void stream_left(const void* from, std::ptrdiff_t stride) {
    __asm__ volatile("tileloaddt1 (%1,%2,1), %%tmm%c0"
                     :
                     : "n"(4 + kRow), "r"(from), "r"(stride)
                     : "memory");
  }
  template <int kCol>
  void load_right(const void* from, std::ptrdiff_t stride) {
    load<6 + kCol>(from, stride);
  }
  /// A side that isn't multiplied again. What is zero takes no register of
  /// those that tiles are renamed to, of which a core whose other thread is
  /// busy has few: tile_step.h.
  template <int kRow>
  void drop_left() {
    clear<4 + kRow>();
  }
  template <int kCol>
  void drop_right() {
    clear<6 + kCol>();
  }
  /// So many instructions that do nothing between two of tiles.
  template <int kCount>
  void space() {
    __asm__ volatile(".rept %c0\n\tnop\n\t.endr" : : "n"(kCount));
  }
  /// The sum of this row and column += left · right, in bfloat16.
  template <int kRow, int kCol>
  void add_product() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0"
                     :
                     : "n"(sum(kRow, kCol)), "n"(4 + kRow), "n"(6 + kCol));
  }

 private:
  static constexpr int sum(int row, int col) { return 2 * row + col; }
  template <int kTile>
  static void clear() {
    __asm__ volatile("tilezero %%tmm%c0" : : "n"(kTile));
  }
  template <int kTile>
  static void load(const void* from, std::ptrdiff_t stride) {
    __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0"
                     :
                     : "n"(kTile), "r"(from), "r"(stride)
                     : "memory");
  }
};

class EmulatedTiles {
 public:
  template <int kRow, int kCol>
  void zero_sum() {
    std::memset(sums_[kRow][kCol], 0, kTileSize);
  }
  template <int kRow, int kCol>
  void load_sum(const float* from, std::ptrdiff_t stride) {
    copy(from, stride, sums_[kRow][kCol], kTileBytes);
  }
  template <int kRow, int kCol>
  void store_sum(float* to, std::ptrdiff_t stride) {
    copy(sums_[kRow][kCol], kTileBytes, to, stride);
  }
  template <int kRow>
  void load_left(const void* from, std::ptrdiff_t stride) {
    copy(from, stride, left_[kRow], kTileBytes);
  }
  template <int kRow>
  void stream_left(const void* from, std::ptrdiff_t stride) {
    load_left<kRow>(from, stride);
  }
  template <int kCol>
  void load_right(const void* from, std::ptrdiff_t stride) {
    copy(from, stride, right_[kCol], kTileBytes);
  }
  template <int kRow>
  void drop_left() {
    std::memset(left_[kRow], 0, kTileSize);
  }
  template <int kCol>
  void drop_right() {
    std::memset(right_[kCol], 0, kTileSize);
  }
  template <int kCount>
  void space() {}
  template <int kRow, int kCol>
  void add_product() {
    for (int r = 0; r < kTileRows; ++r) {
      for (int i = 0; i < kTileRows; ++i) {
        const float low = low_half(left_[kRow][r][i]);
        const float high = high_half(left_[kRow][r][i]);
        for (int c = 0; c < kTileCols; ++c) {
          const std::uint32_t pair = right_[kCol][i][c];
          sums_[kRow][kCol][r][c] +=
              low * low_half(pair) + high * high_half(pair);
        }
      }
    }
  }

 private:
  using Words = std::uint32_t[kTileRows][kTileCols];

  static float low_half(std::uint32_t pair) {
    return std::bit_cast<float>(pair << 16);
  }
  static float high_half(std::uint32_t pair) {
    return std::bit_cast<float>(pair & 0xffff0000u);
  }
  static void copy(
      const void* from,
      std::ptrdiff_t from_stride,
      void* to,
      std::ptrdiff_t to_stride) {
    for (int r = 0; r < kTileRows; ++r) {
      std::memcpy(
          static_cast<std::byte*>(to) + r * to_stride,
          static_cast<const std::byte*>(from) + r * from_stride,
          kTileBytes);
    }
  }

  float sums_[2][2][kTileRows][kTileCols];
  Words left_[2];
  Words right_[2];
};

}  // namespace
}  // namespace roofline
