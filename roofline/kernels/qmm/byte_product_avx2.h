// Products of trimmed rows with weights in any format but q4 on AVX2. As in
// unpacked_product_avx2.h, what all row blocks of a call read of the tokens is
// found out once, and a row block becomes bytes once for all tokens. What is
// found out depends on a row block's plan (byte_block_avx2.h); all blocks of a
// matrix mostly have the same. Included by qmm_avx2.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "roofline/kernels/qmm/byte_tokens_avx2.h"
#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/unpacked_product_avx2.h"
#include "roofline/kernels/qmm/word_product_avx2.h"

namespace roofline {

namespace {

using ByteTileFn = void (*)(const ByteTile&);
using ByteTiles = std::array<ByteTileFn, kMostByteTokens>;

template <bool BIASES>
constexpr ByteTiles kHalvesTiles = {
    halves_tile<1, BIASES>,
    halves_tile<2, BIASES>,
    halves_tile<3, BIASES>,
    halves_tile<4, BIASES>};

/// One call: its rows and what is found out of them.
class ByteProduct {
 public:
  ByteProduct(
      const PackedMatrix& w,
      const QuantizedRows& x,
      int token_begin,
      int token_end)
      : w_(w), tokens_{x, token_begin, token_end, w.unit} {}

  /// The rows of a block for all tokens.
  template <PackedFormat kFormat>
  void multiply(int block, float* y, int ldy) {
    const BlockGroups groups = w_.block_groups(block);
    const BytePlan plan = plan_bytes(w_, largest_value<kFormat>(w_, groups));
    if (plan.sums == ByteSums::none) {
      const auto& [x, begin, end, unit] = tokens_;
      word_product(w_, block, block + 1, x, begin, end, y, ldy);
      return;
    }
    if (plan != plan_) {
      prepare(plan);
    }
    const UnpackedBlock bytes = unpack_bytes<kFormat>(
        w_,
        groups,
        plan,
        unpacked_.codes,
        unpacked_.scales);
    if (plan.sums == ByteSums::groups) {
      multiply_groups(bytes, block, y, ldy);
    } else {
      multiply_bytes(bytes, block, y, ldy);
    }
  }

 private:
  int sets() const { return unpacked_sets(w_.format, *plan_); }

  void prepare(const BytePlan& plan) {
    plan_ = plan;
    if (plan.sums == ByteSums::groups) {
      const auto& [x, begin, end, unit] = tokens_;
      find_tokens(x, begin, end, plan.center, unit, plan.biases, unpacked_);
    } else {
      find_bytes(tokens_, plan, sets(), bytes_);
    }
  }

  /// What tiles of both kinds have in common.
  template <class Tile>
  Tile block_tile(const UnpackedBlock& bytes, int block, int ldy) const {
    const int row = block * kRowBlock;
    Tile tile{};
    tile.block = bytes;
    tile.groups = w_.groups();
    tile.stride = std::ptrdiff_t{kPlanes} * w_.cols;
    tile.rows[0] = first_lanes(w_.rows - row);
    tile.rows[1] = first_lanes(w_.rows - row - kHalf);
    tile.ldy = ldy;
    return tile;
  }

  void multiply_groups(
      const UnpackedBlock& bytes,
      int block,
      float* y,
      int ldy) {
    const auto& tiles =
        plan_->biases ? kUnpackedTiles<true> : kUnpackedTiles<false>;
    auto tile = block_tile<UnpackedTile>(bytes, block, ldy);
    const std::size_t* own = unpacked_.tile_outliers.data();
    each_token_tile(tokens_.begin, tokens_.end, [&](int first, int tokens) {
      const std::ptrdiff_t in_call = first - tokens_.begin;
      const std::ptrdiff_t part = in_call * tile.groups;
      tile.codes = tokens_.x.codes + first * tile.stride + kGroup;
      tile.parts = unpacked_.parts.data() + part;
      tile.sums = unpacked_.sums.data() + part;
      tile.quanta = unpacked_.quanta.data() + in_call;
      tile.outliers = unpacked_.outliers.data() + own[0];
      tile.outliers_end = unpacked_.outliers.data() + own[1];
      ++own;
      tile.y = y + static_cast<std::ptrdiff_t>(first) * ldy + block * kRowBlock;
      tiles[static_cast<std::size_t>(tokens - 1)](tile);
    });
  }

  void multiply_bytes(
      const UnpackedBlock& bytes,
      int block,
      float* y,
      int ldy) {
    const ByteTiles& tiles =
        plan_->biases ? kHalvesTiles<true> : kHalvesTiles<false>;
    auto tile = block_tile<ByteTile>(bytes, block, ldy);
    const std::size_t* own = bytes_.tile_outliers.data();
    each_byte_tile(tokens_.begin, tokens_.end, [&](int first, int tokens) {
      const std::ptrdiff_t in_call = first - tokens_.begin;
      const std::ptrdiff_t part = in_call * tile.groups;
      tile.codes = tokens_.x.codes + first * tile.stride + kGroup;
      tile.starts = bytes_.starts.data() + 2 * part;
      tile.factors = bytes_.factors.data() + part;
      tile.sums = bytes_.sums.data() + part * sets();
      tile.quanta = bytes_.quanta.data() + in_call;
      tile.outliers = bytes_.outliers.data() + own[0];
      tile.outliers_end = bytes_.outliers.data() + own[1];
      ++own;
      tile.y = y + static_cast<std::ptrdiff_t>(first) * ldy + block * kRowBlock;
      tiles[static_cast<std::size_t>(tokens - 1)](tile);
    });
  }

  const PackedMatrix& w_;
  ByteTokens tokens_;
  std::optional<BytePlan> plan_;  ///< what memory is prepared for
  UnpackedMemory& unpacked_ = UnpackedMemory::own();
  ByteMemory& bytes_ = ByteMemory::own();
};

template <PackedFormat kFormat>
void byte_chunk(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  ByteProduct product(w, x, token_begin, token_end);
  for (int block = block_begin; block < block_end; ++block) {
    product.multiply<kFormat>(block, y, ldy);
  }
}

/// QmmKernels::fast for trimmed rows and any format but q4.
void byte_product(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  static constexpr auto kChunks =
      by_format([]<PackedFormat kFormat>() { return byte_chunk<kFormat>; });
  const auto chunk = kChunks[format_index(w.format)];
  const int room = std::max(kMostParts / w.groups(), kLeastChunk);
  each_token_chunk(token_begin, token_end, room, [&](int begin, int end) {
    chunk(w, block_begin, block_end, x, begin, end, y, ldy);
  });
}

}  // namespace

}  // namespace roofline
