#include "roofline/kernels/block/linear.h"

#include <algorithm>
#include <cstddef>

namespace roofline {

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

namespace {

/// What lies from a group on, counted over all tokens.
QuantizedRows from_group(QuantizedRows rows, std::ptrdiff_t group) {
  rows.codes += group * kPlanes * kGroup;
  rows.scales += group;
  rows.sums += group;
  rows.half_sums += 2 * group;
  rows.code_sums += group;
  if (rows.high) {
    rows.high += group;
  }
  return rows;
}

}  // namespace

StepInput token_rows(const StepInput& input, int begin, int end, int cols) {
  const std::ptrdiff_t first = begin;
  StepInput rows = input;
  if (input.x) {
    rows.x += first * cols;
  }
  if (input.quantized.codes) {
    rows.quantized = from_group(input.quantized, first * (cols / kGroup));
    rows.quantized.tokens = end - begin;
  }
  if (input.rounded.tiles) {
    rows.rounded = input.rounded.from(begin);
  }
  return rows;
}

QuantizedRows token_columns(
    const QuantizedRows& rows,
    int token,
    int first,
    int count) {
  const std::ptrdiff_t column = std::ptrdiff_t{token} * rows.cols + first;
  QuantizedRows own = from_group(rows, column / kGroup);
  own.tokens = 1;
  own.cols = count;
  return own;
}

void product_piece(
    const StepKernels& kernels,
    const PackedMatrix& w,
    const ProductPiece& piece,
    const StepInput& input,
    float* y,
    int ldy) {
  if (input.rounded.tiles) {
    kernels.bf16->product(w, piece, input.rounded, y, ldy);
  } else if (!w.quantized()) {
    kernels.dense->product(
        w,
        piece.block_begin * kRowBlock,
        std::min(w.rows, piece.block_end * kRowBlock),
        input.x,
        piece.token_begin,
        piece.token_end,
        y,
        ldy,
        kernels.dense_order);
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

}  // namespace

StackGrid::StackGrid(
    const StepLinear& linear,
    int tokens,
    int threads,
    bool tiles) {
  int all_blocks = 0;
  for (const PackedMatrix& part : linear.parts) {
    all_blocks += part.row_blocks();
  }
  int rows = 0;
  for (const PackedMatrix& part : linear.parts) {
    const int blocks = part.row_blocks();
    const ProductGrid grid = tiles ? ProductGrid::for_tiles(
                                         blocks,
                                         all_blocks,
                                         tokens,
                                         threads,
                                         kMostTiledBlocks)
                                   : ProductGrid(
                                         blocks,
                                         all_blocks,
                                         tokens,
                                         part.cols,
                                         bytes_per_block(part),
                                         threads);
    grids_[parts_++] = {&part, grid, pieces_, rows};
    pieces_ += grid.pieces();
    rows += part.rows;
  }
}

const PartGrid& StackGrid::part_of(int piece) const {
  std::size_t at = parts_ - 1;
  while (piece < grids_[at].first_piece) {
    --at;
  }
  return grids_[at];
}

ProductGrid hidden_grid(
    const StepFeedForward& ff,
    int tokens,
    int threads,
    bool tiles) {
  const PackedMatrix& up = ff.up.parts[0];
  const int blocks = up.row_blocks();
  return tiles ? ProductGrid::for_tiles(
                     blocks,
                     blocks,
                     tokens,
                     threads,
                     kMostTiledBlocks / 2)
               : ProductGrid(
                     blocks,
                     blocks,
                     tokens,
                     up.cols,
                     2 * bytes_per_block(up),
                     threads,
                     kGroup / kRowBlock);
}

void run_linear(
    const StepKernels& kernels,
    const StepLinear& linear,
    const StepInput& input,
    int tokens,
    float* y,
    int ldy,
    ThreadPool& pool,
    const AfterPiece& after,
    NextReads next) {
  const bool tiles = input.rounded.tiles != nullptr;
  const StackGrid grid(linear, tokens, pool.threads(), tiles);
  StepInput stamped = input;
  stamped.quantized.stamp = new_stamp();
  auto run = [&](int index, int worker) {
    const PartGrid& own = grid.part_of(index);
    const ProductPiece piece = own.grid.piece(index - own.first_piece);
    float* to = y + own.first_row;
    product_piece(kernels, *own.part, piece, stamped, to, ldy);
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
    next.say(worker);
  };
  pool.run(grid.pieces(), run);
}

}  // namespace roofline
