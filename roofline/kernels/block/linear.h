// Matrix products of a step, in pieces (product_grid.h) for the pool.
#pragma once

#include <array>
#include <functional>
#include <span>

#include "roofline/base/read_ahead.h"
#include "roofline/kernels/bf16_product/bf16_product.h"
#include "roofline/kernels/block/step.h"
#include "roofline/kernels/dense/dense.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/product_grid.h"
#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

/// The activations of a product, in the forms that its weights need.
struct StepInput {
  const float* x = nullptr;  ///< [tokens, cols]
  QuantizedRows quantized;
  RoundedRows rounded;  ///< if there, all weights take it, in any format
};

/// The kernels of one step, looked up once.
struct StepKernels {
  const QmmKernels* qmm = nullptr;
  const DenseKernels* dense = nullptr;
  const RowKernels* rows = nullptr;
  const Bf16ProductKernels* bf16 = nullptr;  ///< nullptr: no tiles
  bool exact = false;
  DenseOrder dense_order = DenseOrder::quick;
};

/// Rows [16·block_begin, 16·block_end) as a matrix of their own.
PackedMatrix block_rows(
    const PackedMatrix& matrix,
    int block_begin,
    int block_end);

/// Tokens [begin, end) as an input of their own.
StepInput token_rows(const StepInput& input, int begin, int end, int cols);

/// Columns [first, first + count) of a token, whole groups, as a row of their
/// own.
QuantizedRows token_columns(
    const QuantizedRows& rows,
    int token,
    int first,
    int count);

/// y[t, 16·block_begin …] = x · wᵀ for one piece; y is the whole matrix's.
void product_piece(
    const StepKernels& kernels,
    const PackedMatrix& w,
    const ProductPiece& piece,
    const StepInput& input,
    float* y,
    int ldy);

/// One part of a stack and its pieces.
struct PartGrid {
  const PackedMatrix* part = nullptr;
  ProductGrid grid;
  int first_piece = 0;
  int first_row = 0;
};

/// How a product with stacked matrices is cut.
class StackGrid {
 public:
  StackGrid(const StepLinear& linear, int tokens, int threads, bool tiles);
  int pieces() const { return pieces_; }
  const PartGrid& part_of(int piece) const;

 private:
  static constexpr std::size_t kMostParts = 3;  // q, k and v
  std::array<PartGrid, kMostParts> grids_;
  std::size_t parts_ = 0;
  int pieces_ = 0;
};

/// How gate and up are cut.
ProductGrid hidden_grid(
    const StepFeedForward& ff,
    int tokens,
    int threads,
    bool tiles);

/// Called after a piece of y is there, with its first row of the weights, their
/// number, and its tokens.
using AfterPiece =
    std::function<void(int row, int rows, int token_begin, int token_end)>;

/// For each thread what it reads first in the next product; empty: nothing is
/// known.
struct NextReads {
  std::span<const ReadAhead> of_threads;

  void say(int worker) const {
    if (!of_threads.empty()) {
      read_while_waiting(of_threads[static_cast<std::size_t>(worker)]);
    }
  }
};

/// y[tokens, ldy] = x · wᵀ + bias on the pool.
void run_linear(
    const StepKernels& kernels,
    const StepLinear& linear,
    const StepInput& input,
    int tokens,
    float* y,
    int ldy,
    ThreadPool& pool,
    const AfterPiece& after = {},
    NextReads next = {});

}  // namespace roofline
