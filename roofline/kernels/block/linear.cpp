#include "roofline/kernels/block/linear.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace roofline {

namespace {

/// A thread should find so many pieces, so that one that loses its core for a
/// while delays the others by a fraction of the product only.
constexpr int kPiecesPerThread = 6;
/// Less than this isn't worth the exchange of a cache line: about half a
/// microsecond of reading.
constexpr std::size_t kLeastPieceBytes = 8 * 1024;
/// Up to so many tokens a product is bound by reading the weights.
constexpr int kFewTokens = 16;
/// Products of more tokens than that take row blocks in pairs.
constexpr int kSingleBlockTokens = 3;
/// Weights of a piece with many tokens; they stay in the first cache while the
/// tokens pass.
constexpr std::size_t kManyTokensPieceBytes = 24 * 1024;
/// Quantized activations of a piece; they stay in the second cache.
constexpr int kActivationBytes = 256 * 1024;

int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}

int round_up(int value, int multiple) {
  return ceil_div(value, multiple) * multiple;
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
  if (tokens <= kFewTokens) {
    token_step_ = tokens;
    const int even = ceil_div(all_blocks, threads * kPiecesPerThread);
    block_step_ =
        threads == 1 ? blocks : std::max(even, blocks_of(kLeastPieceBytes));
  } else {
    const int fitting =
        std::max(1, kActivationBytes / std::max(1, kPlanes * cols));
    const int parts = ceil_div(tokens, std::max(kFewTokens, fitting));
    token_step_ = round_up(ceil_div(tokens, parts), kFewTokens);
    block_step_ = blocks_of(kManyTokensPieceBytes);
  }
  multiple = std::max(multiple, tokens > kSingleBlockTokens ? 2 : 1);
  block_step_ =
      std::min(round_up(block_step_, multiple), round_up(blocks, multiple));
  cut();
}

ProductGrid ProductGrid::for_tiles(
    int blocks,
    int all_blocks,
    int tokens,
    int threads) {
  ProductGrid grid;
  if (blocks == 0 || tokens == 0) {
    return grid;
  }
  constexpr int kPair = 2;  // tiles take row blocks in pairs
  grid.blocks_ = blocks;
  grid.tokens_ = tokens;
  const int parts = ceil_div(tokens, kTileTokens);
  grid.token_step_ = round_up(ceil_div(tokens, parts), RoundedRows::kTokens);
  const int even = all_blocks * parts / (threads * 2 * kPiecesPerThread);
  grid.block_step_ = std::clamp(even / kPair * kPair, kPair, kMostTileBlocks);
  grid.cut();
  return grid;
}

void ProductGrid::cut() {
  block_pieces_ = ceil_div(blocks_, block_step_);
  token_pieces_ = ceil_div(tokens_, token_step_);
}

ProductPiece ProductGrid::piece(int index) const {
  // Neighbouring pieces share their tokens: these are in the cache already.
  const int block = index % block_pieces_;
  const int token = index / block_pieces_;
  return {
      block * block_step_,
      std::min(blocks_, (block + 1) * block_step_),
      token * token_step_,
      std::min(tokens_, (token + 1) * token_step_)};
}

int StepLinear::rows() const {
  int sum = 0;
  for (const PackedMatrix& part : parts) {
    sum += part.rows;
  }
  return sum;
}

bool StepLinear::any_quantized() const {
  return std::any_of(parts.begin(), parts.end(), [](const PackedMatrix& part) {
    return part.quantized();
  });
}

PackedMatrix block_rows(
    const PackedMatrix& matrix,
    int block_begin,
    int block_end) {
  const int row_begin = block_begin * kRowBlock;
  PackedMatrix rows = matrix;
  rows.rows = std::min(matrix.rows, block_end * kRowBlock) - row_begin;
  rows.data += packed_bytes(matrix, row_begin, matrix.cols);
  return rows;
}

StepInput token_rows(const StepInput& input, int begin, int end, int cols) {
  const std::ptrdiff_t first = begin;
  StepInput rows = input;
  if (input.x) {
    rows.x += first * cols;
  }
  if (input.quantized.codes) {
    rows.quantized.tokens = end - begin;
    rows.quantized.codes += first * cols * kPlanes;
    rows.quantized.scales += first * (cols / kGroup);
    rows.quantized.sums += first * (cols / kGroup);
    rows.quantized.half_sums += 2 * first * (cols / kGroup);
    rows.quantized.code_sums += first * (cols / kGroup);
    if (rows.quantized.high) {
      rows.quantized.high += first * (cols / kGroup);
    }
  }
  if (input.rounded.tiles) {
    rows.rounded = input.rounded.from(begin);
  }
  return rows;
}

void product_piece(
    const StepKernels& kernels,
    const PackedMatrix& w,
    const ProductPiece& piece,
    const StepInput& input,
    float* y,
    int ldy) {
  if (input.rounded.tiles) {
    kernels.bf16->product(
        w,
        {piece.block_begin,
         piece.block_end,
         piece.token_begin,
         piece.token_end},
        input.rounded,
        y,
        ldy);
  } else if (!w.quantized()) {
    kernels.dense->product(
        w,
        piece.block_begin * kRowBlock,
        std::min(w.rows, piece.block_end * kRowBlock),
        input.x,
        piece.token_begin,
        piece.token_end,
        y,
        ldy);
  } else if (kernels.exact) {
    kernels.qmm->exact(
        w,
        piece.block_begin,
        piece.block_end,
        input.x,
        piece.token_begin,
        piece.token_end,
        y,
        ldy);
  } else {
    kernels.qmm->fast(
        w,
        piece.block_begin,
        piece.block_end,
        input.quantized,
        piece.token_begin,
        piece.token_end,
        y,
        ldy);
  }
}

namespace {

std::size_t bytes_per_block(const PackedMatrix& part) {
  return packed_bytes(part, kRowBlock, part.cols);
}

/// One part of a stack and its pieces.
struct PartGrid {
  const PackedMatrix* part = nullptr;
  ProductGrid grid;
  int first_piece = 0;
  int first_row = 0;
};

}  // namespace

void run_linear(
    const StepKernels& kernels,
    const StepLinear& linear,
    const StepInput& input,
    int tokens,
    float* y,
    int ldy,
    ThreadPool& pool,
    const AfterPiece& after) {
  constexpr std::size_t kMostParts = 3;  // q, k and v
  std::array<PartGrid, kMostParts> grids;
  int pieces = 0;
  int rows = 0;
  std::size_t parts = 0;
  int all_blocks = 0;
  for (const PackedMatrix& part : linear.parts) {
    all_blocks += part.row_blocks();
  }
  for (const PackedMatrix& part : linear.parts) {
    const ProductGrid grid = input.rounded.tiles ? ProductGrid::for_tiles(
                                                       part.row_blocks(),
                                                       all_blocks,
                                                       tokens,
                                                       pool.threads())
                                                 : ProductGrid(
                                                       part.row_blocks(),
                                                       all_blocks,
                                                       tokens,
                                                       part.cols,
                                                       bytes_per_block(part),
                                                       pool.threads());
    grids[parts++] = {&part, grid, pieces, rows};
    pieces += grid.pieces();
    rows += part.rows;
  }
  auto run = [&](int index, int) {
    std::size_t at = parts - 1;
    while (index < grids[at].first_piece) {
      --at;
    }
    const PartGrid& own = grids[at];
    const ProductPiece piece = own.grid.piece(index - own.first_piece);
    float* to = y + own.first_row;
    product_piece(kernels, *own.part, piece, input, to, ldy);
    const int row = own.first_row + piece.block_begin * kRowBlock;
    const int count = std::min(own.part->rows, piece.block_end * kRowBlock) -
                      piece.block_begin * kRowBlock;
    if (!linear.bias.empty()) {
      for (int t = piece.token_begin; t < piece.token_end; ++t) {
        float* at_row = y + static_cast<std::ptrdiff_t>(t) * ldy + row;
        kernels.rows->add(at_row, linear.bias.data() + row, 1.0f, count);
      }
    }
    if (after) {
      after(row, count, piece.token_begin, piece.token_end);
    }
  };
  pool.run(pieces, run);
}

}  // namespace roofline
