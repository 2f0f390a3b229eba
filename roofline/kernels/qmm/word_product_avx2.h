// Products of a few tokens, or of any number in formats whose values take more
// than 4 bits, in the tiles of word_tile_avx2.h. Included by qmm_avx2.cpp.
#pragma once

#include <array>
#include <cstddef>

#include "roofline/kernels/qmm/one_token_avx2.h"
#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/word_tile_avx2.h"

namespace roofline {

namespace {

using WordTileFn = void (*)(const WordTile&);
using WordTiles = std::array<WordTileFn, kMostWordTokens>;

template <PackedFormat kFormat, bool BIASES>
constexpr WordTiles kWordTiles = {
    word_tile<kFormat, 1, BIASES>,
    word_tile<kFormat, 2, BIASES>,
    word_tile<kFormat, 3, BIASES>,
    word_tile<kFormat, 4, BIASES>};

/// Values count from kSignOffset: with that offset nothing else is added.
template <PackedFormat kFormat>
const WordTiles& word_tiles(const PackedMatrix& w) {
  return kFormat != PackedFormat::q4 && w.offset == kSignOffset
             ? kWordTiles<kFormat, false>
             : kWordTiles<kFormat, true>;
}

void word_product(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  static constexpr auto kTiles =
      by_format([]<PackedFormat kFormat>() { return word_tiles<kFormat>; });
  const WordTiles& tiles = kTiles[format_index(w.format)](w);
  const int sets = scale_sets(w.format);
  const TokenCodes codes = token_codes(x, token_begin, token_end, sets);
  const float* sums = sets == 1 ? x.sums : x.half_sums;
  const std::ptrdiff_t groups = w.groups();
  WordTile tile{};
  tile.groups = w.groups();
  tile.unit = w.unit;
  tile.table = load_table(w);
  tile.ahead = token_end - token_begin <= kFewTokens;
  tile.stride = w.cols;
  tile.ldy = ldy;
  for (int block = block_begin; block < block_end; ++block) {
    const int row = block * kRowBlock;
    tile.block = w.block_groups(block);
    tile.rows[0] = first_lanes(w.rows - row);
    tile.rows[1] = first_lanes(w.rows - row - kHalf);
    const auto multiply = [&](int first, int end) {
      const std::ptrdiff_t in_call = first - token_begin;
      tile.words = codes.words + in_call * tile.stride;
      tile.starts = codes.starts + in_call * groups * sets;
      tile.scales = x.scales + first * groups;
      tile.sums = sums + first * groups * sets;
      tile.y = y + static_cast<std::ptrdiff_t>(first) * ldy + row;
      tiles[static_cast<std::size_t>(end - first - 1)](tile);
    };
    each_token_chunk(token_begin, token_end, kMostWordTokens, multiply);
  }
}

}  // namespace

}  // namespace roofline
