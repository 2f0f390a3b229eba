// One step of a product on tiles: up to 2 × 2 tiles of sums over some depth.
// Where left and right sides lie is told in bytes, so that packed and strided
// operands share it. Included by files compiled for AMX only.
#pragma once

#include <algorithm>
#include <cstddef>

#include "roofline/kernels/simd/pair_product.h"
#include "roofline/kernels/simd/tiles.h"
#include "roofline/kernels/simd/vec_avx512.h"

namespace roofline {
namespace {

/// Distances of a side's tiles in bytes.
struct TileSide {
  const std::byte* at;
  std::ptrdiff_t row;   ///< from row to row of a tile
  std::ptrdiff_t next;  ///< to the second tile
  std::ptrdiff_t step;  ///< to the next one along the depth

  static TileSide of(
      const void* from,
      std::ptrdiff_t row,
      std::ptrdiff_t next,
      std::ptrdiff_t step) {
    return {static_cast<const std::byte*>(from), row, next, step};
  }
};

/// Where tiles of sums lie; distances in floats.
struct SumPlaces {
  float* at;
  std::ptrdiff_t row;   ///< from row to row of a tile
  std::ptrdiff_t down;  ///< to the tile of the next 16 rows
  std::ptrdiff_t over;  ///< to the tile of the next 16 columns

  /// A matrix's.
  static SumPlaces of(float* c, std::ptrdiff_t ldc) {
    return {c, ldc, kTileRows * ldc, kTileCols};
  }
};

struct TileStep {
  TileSide left;
  TileSide right;
  int depth;  ///< in tiles: 32 values
  SumPlaces sums;
  int rows;  ///< of the sums that are there; the rest isn't touched
  int cols;
  bool accumulate;
  /// Where sums begin that don't where they go: [2, 2, 16, 16].
  const float* waiting = nullptr;
};

/// Asks for a line that is going to be written.
[[gnu::always_inline]] inline void ask_to_write(const std::byte* line) {
  __asm__ volatile("prefetchw %0" : : "m"(*line));
}

/// Pairs of lines that the end of a step reads or writes, asked for while it
/// goes along its depth.
struct LinesAhead {
  const std::byte* at;
  std::ptrdiff_t row;  ///< from pair to pair, in bytes
  int rows;
  int each;  ///< pairs a tile of the depth

  static LinesAhead of(
      const void* at,
      std::ptrdiff_t row,
      int rows,
      int depth) {
    return {
        static_cast<const std::byte*>(at),
        row,
        rows,
        (rows + depth - 1) / depth};
  }
  [[gnu::always_inline]] void operator()(int k) const {
    const int end = std::min(rows, (k + 1) * each);
    for (int r = k * each; r < end; ++r) {
      ask_to_write(at + r * row);
      ask_to_write(at + r * row + kTileBytes);
    }
  }
};

/// Asks for nothing.
struct NoneAhead {
  void operator()(int) const {}
};

/// The place of one tile of sums.
struct SumPlace {
  float* at;
  std::ptrdiff_t ldc;
  int rows;
  int cols;

  SumPlace(const TileStep& step, int row, int col)
      : at(step.sums.at + row * step.sums.down + col * step.sums.over),
        ldc(step.sums.row),
        rows(std::min(step.rows - row * kTileRows, kTileRows)),
        cols(std::min(step.cols - col * kTileCols, kTileCols)) {}
  bool whole() const { return rows == kTileRows && cols == kTileCols; }
  void read(float* sums) const {
    for (int r = 0; r < rows; ++r) {
      Vec::load(at + r * ldc, cols).store(sums + r * kTileCols);
    }
  }
  void write(const float* sums) const {
    for (int r = 0; r < rows; ++r) {
      Vec::load(sums + r * kTileCols).store(at + r * ldc, cols);
    }
  }
};

/// Whether the tiles of a step are all there; then none asks.
enum class TileCover { whole, partial };

template <int kRow, int kCol, TileCover kCover, class Tiles>
inline void begin_sum(Tiles& tiles, const TileStep& step) {
  if (!step.accumulate) {
    tiles.template zero_sum<kRow, kCol>();
    return;
  }
  if (step.waiting != nullptr) {
    constexpr int kTile = 2 * kRow + kCol;
    tiles.template load_sum<kRow, kCol>(
        step.waiting + kTile * kTileRows * kTileCols,
        kTileBytes);
    return;
  }
  const SumPlace place(step, kRow, kCol);
  if (kCover == TileCover::whole || place.whole()) {
    tiles.template load_sum<kRow, kCol>(place.at, 4 * place.ldc);
    return;
  }
  alignas(64) float sums[kTileRows * kTileCols] = {};
  place.read(sums);
  tiles.template load_sum<kRow, kCol>(sums, kTileBytes);
}

template <int kRow, int kCol, TileCover kCover, class Tiles>
inline void end_sum(Tiles& tiles, const TileStep& step) {
  const SumPlace place(step, kRow, kCol);
  if (kCover == TileCover::whole || place.whole()) {
    tiles.template store_sum<kRow, kCol>(place.at, 4 * place.ldc);
    return;
  }
  alignas(64) float sums[kTileRows * kTileCols];
  tiles.template store_sum<kRow, kCol>(sums, kTileBytes);
  place.write(sums);
}

template <int kRow, bool kStreamed, class Tiles>
inline void load_left(Tiles& tiles, const TileSide& side, const std::byte* at) {
  if constexpr (kStreamed) {
    tiles.template stream_left<kRow>(at + kRow * side.next, side.row);
  } else {
    tiles.template load_left<kRow>(at + kRow * side.next, side.row);
  }
}

template <int kCol, class Tiles>
inline void load_right(
    Tiles& tiles,
    const TileSide& side,
    const std::byte* at) {
  tiles.template load_right<kCol>(at + kCol * side.next, side.row);
}

/// Does nothing with a sum.
struct KeptSum {
  template <int kRow, int kCol>
  void operator()() const {}
};

/// The products of one tile of the depth; begin<row, col>() comes before that
/// product and end<row, col>() after it.
///
/// The core overlaps them with those of the next tile by renaming tiles. Alone
/// on its core a thread multiplies without a pause in most orders. Beside a
/// busy thread there is about one register more than the eight tiles, and a
/// load that finds none holds up all that follows: an Emerald Rapids took 315
/// to 340 cycles for 4 products, of at least 64, in whatever order sides were
/// asked for ahead. So a side is asked for just before its first product and
/// dropped after its last one, and loads don't come in a row: 122 to 145 at
/// best (a random search over orders, drops and spaces), and 64 alone.
template <
    int kRows,
    int kCols,
    bool kStreamed,
    class Tiles,
    class Between,
    class Begin,
    class End>
[[gnu::always_inline]] inline void multiply_sides(
    Tiles& tiles,
    const TileSide& left,
    const TileSide& right,
    Between between,
    Begin begin,
    End end) {
  const auto product = [&]<int kRow, int kCol>()
      __attribute__((always_inline)) {
    begin.template operator()<kRow, kCol>();
    tiles.template add_product<kRow, kCol>();
    end.template operator()<kRow, kCol>();
  };
  load_left<0, kStreamed>(tiles, left, left.at);
  load_right<0>(tiles, right, right.at);
  between();
  tiles.template space<8>();
  product.template operator()<0, 0>();
  if constexpr (kCols > 1) {
    load_right<1>(tiles, right, right.at);
    tiles.template space<4>();
    product.template operator()<0, 1>();
  }
  tiles.template drop_left<0>();
  if constexpr (kRows > 1) {
    load_left<1, kStreamed>(tiles, left, left.at);
    tiles.template space<8>();
    product.template operator()<1, 0>();
  }
  tiles.template drop_right<0>();
  if constexpr (kRows > 1 && kCols > 1) {
    tiles.template space<8>();
    product.template operator()<1, 1>();
  }
  if constexpr (kRows > 1) {
    tiles.template drop_left<1>();
  }
  if constexpr (kCols > 1) {
    tiles.template drop_right<1>();
  }
}

/// kRows × kCols tiles of sums, each at least in part there. kStreamed: the
/// left side is read once while the right one stays. ahead(k) is called at each
/// tile of the depth.
template <
    int kRows,
    int kCols,
    bool kStreamed,
    TileCover kCover = TileCover::partial,
    class Tiles,
    class Ahead = NoneAhead>
void run_step(Tiles& tiles, const TileStep& step, Ahead ahead = {}) {
  // Copies: the compiler can't know that tiles' stores don't reach step.
  TileSide left = step.left;
  TileSide right = step.right;
  const auto multiply = [&](int k, auto begin, auto end)
      __attribute__((always_inline)) {
    multiply_sides<kRows, kCols, kStreamed>(
        tiles,
        left,
        right,
        [&] { ahead(k); },
        begin,
        end);
    left.at += left.step;
    right.at += right.step;
  };
  // Sums come and go between products, not in a row, for they are loads too.
  const auto begin = [&]<int kRow, int kCol>() __attribute__((always_inline)) {
    begin_sum<kRow, kCol, kCover>(tiles, step);
  };
  const auto end = [&]<int kRow, int kCol>() __attribute__((always_inline)) {
    end_sum<kRow, kCol, kCover>(tiles, step);
    tiles.template zero_sum<kRow, kCol>();
  };
  const int last = step.depth - 1;
  if (last == 0) {
    multiply(0, begin, end);
    return;
  }
  multiply(0, begin, KeptSum{});
  for (int k = 1; k < last; ++k) {
    multiply(k, KeptSum{}, KeptSum{});
  }
  multiply(last, KeptSum{}, end);
}

/// All of step.rows × step.cols; sides are read in whole tiles. The depth is at
/// least 1.
template <bool kStreamed, class Tiles>
void run_steps(Tiles& tiles, const TileStep& all) {
  for (int r = 0; r < all.rows; r += 2 * kTileRows) {
    TileStep step = all;
    step.rows = all.rows - r;
    step.left.at += r / kTileRows * all.left.next;
    for (int c = 0; c < all.cols; c += 2 * kTileCols) {
      step.cols = all.cols - c;
      step.sums.at = all.sums.at + r / kTileRows * all.sums.down +
                     c / kTileCols * all.sums.over;
      step.right.at = all.right.at + c / kTileCols * all.right.next;
      const bool tall = step.rows > kTileRows;
      const bool wide = step.cols > kTileCols;
      const auto run =
          tall   ? wide ? run_step<2, 2, kStreamed, TileCover::partial, Tiles>
                        : run_step<2, 1, kStreamed, TileCover::partial, Tiles>
            : wide ? run_step<1, 2, kStreamed, TileCover::partial, Tiles>
                 : run_step<1, 1, kStreamed, TileCover::partial, Tiles>;
      run(tiles, step, {});
    }
  }
}

/// The product over whole tiles of pairs; rows of a and columns of b that c
/// lacks are read, up to whole tiles.
inline TileStep strided_step(const PairProduct& p) {
  return {
      TileSide::of(p.a, 4 * p.lda, 4 * kTileRows * p.lda, kTileBytes),
      TileSide::of(p.b, 4 * p.ldb, kTileBytes, 4 * kTileRows * p.ldb),
      p.pairs / kTileRows,
      SumPlaces::of(p.c, p.ldc),
      p.rows,
      p.columns,
      p.accumulate};
}

}  // namespace
}  // namespace roofline
