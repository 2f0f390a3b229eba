#include "roofline/kernels/product_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace roofline {
namespace {

TEST(ProductGrid, CoversEveryBlockAndTokenOnce) {
  for (const int blocks : {1, 2, 3, 7, 36, 193}) {
    for (const int tokens : {1, 5, 16, 17, 100, 512}) {
      for (const int threads : {1, 2, 5}) {
        for (const int multiple : {1, 2}) {
          const ProductGrid
              grid(blocks, blocks, tokens, 576, 5760, threads, multiple);
          std::vector<int> seen(static_cast<std::size_t>(blocks * tokens));
          for (int i = 0; i < grid.pieces(); ++i) {
            const ProductPiece piece = grid.piece(i);
            EXPECT_LE(piece.block_end - piece.block_begin, grid.block_step());
            EXPECT_LE(piece.token_end - piece.token_begin, grid.token_step());
            EXPECT_EQ(piece.block_begin % multiple, 0);
            for (int b = piece.block_begin; b < piece.block_end; ++b) {
              for (int t = piece.token_begin; t < piece.token_end; ++t) {
                ++seen[static_cast<std::size_t>(b * tokens + t)];
              }
            }
          }
          EXPECT_EQ(seen, std::vector<int>(seen.size(), 1))
              << blocks << " blocks, " << tokens << " tokens";
        }
      }
    }
  }
}

TEST(ProductGrid, GivesTwoThreadsAsManyPiecesWhereFewTokensAreMultiplied) {
  for (const int blocks : {36, 60, 192}) {
    for (const int tokens : {1, 4, 9, 16}) {
      const ProductGrid grid(blocks, blocks, tokens, 576, 5760, 2);
      EXPECT_GE(grid.pieces(), 8);
      EXPECT_EQ(grid.pieces() % 2, 0) << blocks << " blocks, " << tokens;
    }
  }
}

TEST(ProductGrid, PiecesOfAPromptAreAboutEqual) {
  for (const int tokens : {17, 64, 512, 1000}) {
    for (const int cols : {576, 1536, 8192}) {
      const ProductGrid grid(36, 36, tokens, cols, 9 * cols, 2, 1);
      int least = tokens;
      for (int i = 0; i < grid.pieces(); ++i) {
        const ProductPiece piece = grid.piece(i);
        least = std::min(least, piece.token_end - piece.token_begin);
      }
      // Whole tiles of 12, but for the last piece.
      EXPECT_GT(least, grid.token_step() - 2 * 12)
          << tokens << " tokens, " << cols << " columns";
      EXPECT_EQ(grid.pieces() % 2, 0) << tokens << " tokens, " << cols;
    }
  }
}

TEST(ProductGrid, LeavesNoPieceOfOneOrTwoTokens) {
  for (int tokens = 17; tokens < 300; ++tokens) {
    for (const int cols : {576, 1536, 8192, 14336}) {
      const ProductGrid grid(96, 96, tokens, cols, 9 * cols, 2, 1);
      for (int i = 0; i < grid.pieces(); ++i) {
        const ProductPiece piece = grid.piece(i);
        EXPECT_GE(piece.token_end - piece.token_begin, 4)
            << tokens << " tokens, " << cols << " columns";
      }
    }
  }
}

/// Blocks of the pieces in [begin, end) of successive grids.
int blocks_between(const std::vector<ProductGrid>& grids, int begin, int end) {
  int sum = 0;
  int first = 0;
  for (const ProductGrid& grid : grids) {
    for (int i = 0; i < grid.pieces(); ++i) {
      const ProductPiece piece = grid.piece(i);
      const bool inside = first + i >= begin && first + i < end;
      sum += inside ? piece.block_end - piece.block_begin : 0;
    }
    first += grid.pieces();
  }
  return sum;
}

TEST(ProductGrid, SharesOfATokenAreEqualWhereBlocksDivide) {
  const std::vector<std::vector<int>> stacks =
      {{36, 12, 12}, {128, 16, 16}, {128, 32, 32}, {128}, {512}, {96}};
  for (const auto& stack : stacks) {
    const int all = std::accumulate(stack.begin(), stack.end(), 0);
    for (const int threads : {2, 4}) {
      std::vector<ProductGrid> grids;
      int pieces = 0;
      for (const int blocks : stack) {
        grids.emplace_back(blocks, all, 1, 2048, 18432, threads);
        pieces += grids.back().pieces();
      }
      EXPECT_GE(pieces, 4 * threads);
      for (int share = 0; share < threads; ++share) {
        const int begin = pieces * share / threads;
        const int end = pieces * (share + 1) / threads;
        EXPECT_EQ(blocks_between(grids, begin, end), all / threads)
            << stack[0] << " of " << all << " blocks, " << threads;
      }
    }
  }
}

}  // namespace
}  // namespace roofline
