#include "roofline/kernels/block/linear.h"

#include <algorithm>
#include <array>
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
