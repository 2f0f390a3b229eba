// The dense product over a vector type V, included by one file an instruction
// set. V has: kWidth; Register; zero(); fma(a, b, c) = a·b + c; sum(v); and for
// each format load<kFormat>(from) and load_part<kFormat>(from, count), which
// reads count < kWidth values and zeroes the rest. Pointers needn't be aligned.
//
// A tile is a few rows times a few tokens; each pair has registers of partial
// sums along the columns, added up at the end. Up to kMostOfFew tokens, and in
// DenseOrder::alike always, these are four that take turns: a token's result
// doesn't depend on how many others there are, and none waits for its own sum.
// The fewest tokens take a row at a time, one stream; some more take
// V::kFewRows × V::kFewTokens. Many tokens are bound by multiplying: V::kRows
// rows times kMostTokens, one register a pair, so that a decoded value meets
// more of them; a result then depends neither on how rows are cut nor on how
// tokens are.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "roofline/kernels/dense/dense_variants.h"

namespace roofline {
namespace {

template <PackedFormat kFormat>
constexpr std::ptrdiff_t kBytes = kFormat == PackedFormat::f32 ? 4 : 2;

struct DenseTile {
  const std::byte* w;  ///< the first row
  const float* x;      ///< the first token
  std::ptrdiff_t cols;
  float* y;  ///< at the first row and token
  std::ptrdiff_t ldy;
  bool first_pass;  ///< w comes from memory
};

template <class V, PackedFormat kFormat, int kRows, int kTokens, int kChains>
struct DenseSums {
  typename V::Register sums[kChains][kRows][kTokens];

  template <int kChain, class LoadW, class LoadX>
  void add(const LoadW& load_w, const LoadX& load_x) {
    typename V::Register w[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      w[r] = load_w(r);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const typename V::Register x = load_x(t);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        sums[kChain][r][t] = V::fma(w[r], x, sums[kChain][r][t]);
      }
    }
  }
};

/// Beyond, decoding values costs more than waiting for sums.
constexpr int kMostOfFew = 16;
constexpr int kMostTokens = 4;

template <class V, PackedFormat kFormat, int kRows, int kChains, int kTokens>
void dense_tile(const DenseTile& tile) {
  // The first pass over w is asked for this far ahead, in bytes: rows follow
  // each other, but the hardware's prefetch stops at each page and keeps too
  // few lines under way.
  constexpr int kAhead = 8192;
  DenseSums<V, kFormat, kRows, kTokens, kChains> s;
#pragma GCC unroll 4
  for (int chain = 0; chain < kChains; ++chain) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        s.sums[chain][r][t] = V::zero();
      }
    }
  }
  const std::ptrdiff_t cols = tile.cols;
  std::ptrdiff_t c = 0;
  const auto load_w = [&](int r) {
    return V::template load<kFormat>(tile.w + (r * cols + c) * kBytes<kFormat>);
  };
  const auto load_x = [&](int t) {
    return V::template load<PackedFormat::f32>(
        reinterpret_cast<const std::byte*>(tile.x + t * cols + c));
  };
  const auto add_chains = [&]<int... kChain>(
      std::integer_sequence<int, kChain...>) {
    ((s.template add<kChain>(load_w, load_x), c += V::kWidth), ...);
  };
  constexpr std::ptrdiff_t kStep = kChains * V::kWidth;
  while (c + kStep <= cols) {
    if (kChains > 1 && tile.first_pass) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int line = 0; line < kStep * kBytes<kFormat>; line += 64) {
          __builtin_prefetch(
              tile.w + (r * cols + c) * kBytes<kFormat> + kAhead + line);
        }
      }
    }
    add_chains(std::make_integer_sequence<int, kChains>{});
  }
  for (; c + V::kWidth <= cols; c += V::kWidth) {
    s.template add<0>(load_w, load_x);
  }
  if (c < cols) {
    const int rest = static_cast<int>(cols - c);
    s.template add<0>(
        [&](int r) {
          return V::template load_part<kFormat>(
              tile.w + (r * cols + c) * kBytes<kFormat>,
              rest);
        },
        [&](int t) {
          return V::template load_part<PackedFormat::f32>(
              reinterpret_cast<const std::byte*>(tile.x + t * cols + c),
              rest);
        });
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      float sum = V::sum(s.sums[0][r][t]);
      for (int chain = 1; chain < kChains; ++chain) {
        sum += V::sum(s.sums[chain][r][t]);
      }
      tile.y[t * tile.ldy + r] = sum;
    }
  }
}

/// The tiles of so many rows and 1, 2, … tokens.
struct DenseTiles {
  using Function = void (*)(const DenseTile&);

  int rows;
  int most_tokens;
  std::array<Function, kMostTokens> by_tokens;
};

template <class V, PackedFormat kFormat, int kRows, int kChains, int... kCounts>
constexpr DenseTiles dense_tiles(std::integer_sequence<int, kCounts...>) {
  return {
      kRows,
      sizeof...(kCounts),
      {dense_tile<V, kFormat, kRows, kChains, kCounts + 1>...}};
}

/// One call: tiles() multiplies rows from `row` on with tokens from `token` on.
template <class V, PackedFormat kFormat>
struct DenseCall {
  const PackedMatrix& w;
  const float* x;
  float* y;
  int ldy;

  void tile(const DenseTiles& tiles, int row, int token, int end, bool first)
      const {
    const std::ptrdiff_t cols = w.cols;
    const int tokens = std::min(tiles.most_tokens, end - token);
    tiles.by_tokens[static_cast<std::size_t>(tokens - 1)](
        {w.data + row * cols * kBytes<kFormat>,
         x + token * cols,
         cols,
         y + static_cast<std::ptrdiff_t>(token) * ldy + row,
         ldy,
         first});
  }
};

/// Few tokens, or any number in DenseOrder::alike: in runs whose x fits half of
/// a second-level cache; within a run, rows outside, for they come from memory.
template <class V, PackedFormat kFormat>
void few_tokens(
    const DenseCall<V, kFormat>& call,
    int row_begin,
    int row_end,
    int token_begin,
    int token_end) {
  constexpr int kAlikeChains = 4;
  static constexpr auto kSingle = dense_tiles<V, kFormat, 1, kAlikeChains>(
      std::make_integer_sequence<int, V::kSingleTokens>{});
  static constexpr auto kFew =
      dense_tiles<V, kFormat, V::kFewRows, kAlikeChains>(
          std::make_integer_sequence<int, V::kFewTokens>{});
  constexpr std::ptrdiff_t kCacheBytes = 512 << 10;
  const auto fit = static_cast<int>(
      kCacheBytes / (std::max<std::ptrdiff_t>(call.w.cols, 1) * 4));
  const int run = std::max(fit / kMostTokens, 4) * kMostTokens;
  const bool single = token_end - token_begin <= V::kSingleTokens;
  for (int first = token_begin; first < token_end; first += run) {
    const int last = std::min(token_end, first + run);
    for (int row = row_begin; row < row_end;) {
      const DenseTiles& tiles =
          single || row + V::kFewRows > row_end ? kSingle : kFew;
      for (int token = first; token < last; token += tiles.most_tokens) {
        call.tile(tiles, row, token, last, token == token_begin);
      }
      row += tiles.rows;
    }
  }
}

/// Many tokens: rows in runs that stay in a second-level cache; within a run,
/// tokens outside, so that those of a tile stay in the first.
template <class V, PackedFormat kFormat>
void many_tokens(
    const DenseCall<V, kFormat>& call,
    int row_begin,
    int row_end,
    int token_begin,
    int token_end) {
  using Counts = std::make_integer_sequence<int, kMostTokens>;
  static constexpr auto kMany = dense_tiles<V, kFormat, V::kRows, 1>(Counts{});
  static constexpr auto kLastRows = dense_tiles<V, kFormat, 1, 1>(Counts{});
  constexpr std::ptrdiff_t kRunBytes = 128 << 10;
  const std::ptrdiff_t row_bytes =
      std::max<std::ptrdiff_t>(call.w.cols, 1) * kBytes<kFormat>;
  const auto fit = static_cast<int>(kRunBytes / row_bytes);
  const int run = std::max(fit / V::kRows, 1) * V::kRows;
  for (int first = row_begin; first < row_end; first += run) {
    const int last = std::min(row_end, first + run);
    for (int token = token_begin; token < token_end; token += kMostTokens) {
      for (int row = first; row < last;) {
        const DenseTiles& tiles = row + V::kRows > last ? kLastRows : kMany;
        if (token == token_begin) {
          // The first pass reads from memory: the next rows are asked for.
          const std::ptrdiff_t bytes = tiles.rows * row_bytes;
          const std::byte* next = call.w.data + row * row_bytes + bytes;
          for (std::ptrdiff_t i = 0; i < bytes; i += 64) {
            __builtin_prefetch(next + i);
          }
        }
        call.tile(tiles, row, token, token_end, false);
        row += tiles.rows;
      }
    }
  }
}

template <class V, PackedFormat kFormat>
void dense_format(
    const PackedMatrix& w,
    int row_begin,
    int row_end,
    const float* x,
    int token_begin,
    int token_end,
    float* y,
    int ldy,
    DenseOrder order) {
  const DenseCall<V, kFormat> call{w, x, y, ldy};
  const bool few =
      order == DenseOrder::alike || token_end - token_begin <= kMostOfFew;
  const auto multiply = few ? few_tokens<V, kFormat> : many_tokens<V, kFormat>;
  multiply(call, row_begin, row_end, token_begin, token_end);
}

template <class V>
void dense_product(
    const PackedMatrix& w,
    int row_begin,
    int row_end,
    const float* x,
    int token_begin,
    int token_end,
    float* y,
    int ldy,
    DenseOrder order) {
  const auto of_format =
      w.format == PackedFormat::f32   ? dense_format<V, PackedFormat::f32>
      : w.format == PackedFormat::f16 ? dense_format<V, PackedFormat::f16>
                                      : dense_format<V, PackedFormat::bf16>;
  of_format(w, row_begin, row_end, x, token_begin, token_end, y, ldy, order);
}

}  // namespace
}  // namespace roofline
