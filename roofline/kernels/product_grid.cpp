#include "roofline/kernels/product_grid.h"

#include <algorithm>

#include "roofline/base/round_up.h"
#include "roofline/kernels/bf16_product/bf16_product.h"
#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

namespace {

/// A thread should find so many pieces, so that one that loses its core for a
/// while delays the others by a fraction of the product only.
constexpr int kPiecesPerThread = 6;
/// The same on tiles, whose pieces each read all of the tokens' activations.
constexpr int kTiledPiecesPerThread = 3;
/// Less than this isn't worth the exchange of a cache line: about half a
/// microsecond of reading.
constexpr std::size_t kLeastPieceBytes = 8 * 1024;
/// Up to so many tokens a product is bound by reading the weights.
constexpr int kFewTokens = 16;
/// Products of more tokens than that take row blocks in pairs.
constexpr int kSingleBlockTokens = 3;
/// With many tokens pieces are whole tiles of them, whatever the kernels take
/// at a time: 2, 4 or 6.
constexpr int kTokenMultiple = 12;
/// Weights of a piece with many tokens. What a kernel finds out of the tokens
/// is for all of them; so many where there are pieces enough, and never fewer
/// than the least.
constexpr std::size_t kManyTokensPieceBytes = 96 * 1024;
constexpr std::size_t kLeastManyTokensPieceBytes = 32 * 1024;
/// The same in row blocks, where long rows would leave but one or two.
constexpr int kManyTokensBlocks = 8;
/// Quantized activations of a piece; they stay in the second cache.
constexpr int kActivationBytes = 256 * 1024;

/// Blocks of a piece, of whole groups of `multiple` from `most` down to
/// `least`: the largest number with which all threads' shares are equal, what
/// has `blocks` being part of a stack of `all_blocks`; else the largest with
/// which they find as many pieces; else `most`. Each has its pieces for
/// `token_pieces` ranges of tokens.
int balanced_step(
    int blocks,
    int all_blocks,
    int token_pieces,
    int most,
    int least,
    int multiple,
    int threads) {
  for (int step = most; step >= least; step -= multiple) {
    if (blocks % step == 0 && all_blocks / step * token_pieces % threads == 0) {
      return step;
    }
  }
  for (int step = most; step >= least; step -= multiple) {
    if (ceil_div(all_blocks, step) * token_pieces % threads == 0) {
      return step;
    }
  }
  return most;
}

}  // namespace

ProductGrid::ProductGrid(
    int blocks,
    int all_blocks,
    int tokens,
    int cols,
    std::size_t bytes_per_block,
    int threads,
    int multiple)
    : blocks_(blocks), tokens_(tokens) {
  if (blocks == 0 || tokens == 0) {
    return;
  }
  const auto blocks_of = [&](std::size_t bytes) {
    return static_cast<int>(std::max<std::size_t>(
        1,
        bytes / std::max<std::size_t>(1, bytes_per_block)));
  };
  const bool few = tokens <= kFewTokens;
  int most = 0;
  if (few) {
    token_unit_ = tokens;
    token_pieces_ = 1;
    const int even = ceil_div(all_blocks, threads * kPiecesPerThread);
    most = threads == 1 ? blocks : std::max(even, blocks_of(kLeastPieceBytes));
  } else {
    const int fitting =
        std::max(1, kActivationBytes / std::max(1, kPlanes * cols));
    token_unit_ = kTokenMultiple;
    token_pieces_ = ceil_div(tokens, std::max(kFewTokens, fitting));
    const int even = all_blocks * token_pieces_ / (threads * kPiecesPerThread);
    most = std::clamp(
        even * 3 / 2,
        blocks_of(kLeastManyTokensPieceBytes),
        std::max(kManyTokensBlocks, blocks_of(kManyTokensPieceBytes)));
  }
  multiple = std::max(multiple, tokens > kSingleBlockTokens ? 2 : 1);
  most = std::min(round_up(most, multiple), round_up(blocks, multiple));
  const int least =
      std::max(ceil_div(most, few ? 2 : 3), blocks_of(kLeastPieceBytes));
  block_step_ = balanced_step(
      blocks,
      all_blocks,
      token_pieces_,
      most,
      least,
      multiple,
      threads);
  block_pieces_ = ceil_div(blocks_, block_step_);
}

ProductGrid ProductGrid::for_tiles(
    int blocks,
    int all_blocks,
    int tokens,
    int threads,
    int most_blocks) {
  ProductGrid grid;
  if (blocks == 0 || tokens == 0) {
    return grid;
  }
  constexpr int kPair = 2;  // tiles take row blocks in pairs
  grid.blocks_ = blocks;
  grid.tokens_ = tokens;
  const int parts = ceil_div(tokens, kTiledTokens);
  grid.token_unit_ = round_up(ceil_div(tokens, parts), RoundedRows::kTokens);
  grid.token_pieces_ = ceil_div(tokens, grid.token_unit_);
  const int even = all_blocks * parts / (threads * kTiledPiecesPerThread);
  grid.block_step_ = std::clamp(even / kPair * kPair, kPair, most_blocks);
  grid.block_pieces_ = ceil_div(blocks, grid.block_step_);
  return grid;
}

int ProductGrid::token_step() const {
  return token_pieces_ == 0
             ? 1
             : round_up(ceil_div(tokens_, token_pieces_), token_unit_);
}

/// Whole units, as evenly as they can be dealt out; what the last unit lacks is
/// the last piece's, which is among the largest.
int ProductGrid::token_border(int piece) const {
  const int units = ceil_div(tokens_, token_unit_);
  return std::min(tokens_, units * piece / token_pieces_ * token_unit_);
}

ProductPiece ProductGrid::piece(int index) const {
  // Neighbouring pieces share their tokens: these are in the cache already.
  const int block = index % block_pieces_;
  const int token = index / block_pieces_;
  return {
      block * block_step_,
      std::min(blocks_, (block + 1) * block_step_),
      token_border(token),
      token_border(token + 1)};
}

}  // namespace roofline
