// Matrix products of a step, cut into pieces for the pool: blocks of 16 rows of
// the weights × ranges of tokens, small enough to balance, large enough that
// the activations of a piece stay in a core's cache.
#pragma once

#include <functional>

#include "roofline/kernels/bf16_product/bf16_product.h"
#include "roofline/kernels/block/step.h"
#include "roofline/kernels/dense/dense.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
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
};

/// Half-open ranges that one piece covers.
struct ProductPiece {
  int block_begin = 0;
  int block_end = 0;
  int token_begin = 0;
  int token_end = 0;
};

/// Most tokens and row blocks of a piece on tiles: decoding a block of weights
/// costs as much as multiplying it with 80 tokens, and the piece's sums stay
/// near.
constexpr int kTileTokens = 512;
constexpr int kMostTileBlocks = 16;

/// How `blocks` × `tokens` is cut.
class ProductGrid {
 public:
  ProductGrid() = default;
  /// bytes_per_block: of the weights. all_blocks: of all matrices in the same
  /// run. multiple: blocks come in such groups.
  ProductGrid(
      int blocks,
      int all_blocks,
      int tokens,
      int cols,
      std::size_t bytes_per_block,
      int threads,
      int multiple = 1);
  /// For products on tiles (bf16_product/).
  static ProductGrid for_tiles(
      int blocks,
      int all_blocks,
      int tokens,
      int threads);
  int pieces() const { return block_pieces_ * token_pieces_; }
  int block_step() const { return block_step_; }
  int token_step() const { return token_step_; }
  ProductPiece piece(int index) const;

 private:
  void cut();

  int blocks_ = 0;
  int tokens_ = 0;
  int block_step_ = 1;
  int token_step_ = 1;
  int block_pieces_ = 0;
  int token_pieces_ = 0;
};

/// Rows [16·block_begin, 16·block_end) as a matrix of their own.
PackedMatrix block_rows(
    const PackedMatrix& matrix,
    int block_begin,
    int block_end);

/// Tokens [begin, end) as an input of their own.
StepInput token_rows(const StepInput& input, int begin, int end, int cols);

/// y[t, 16·block_begin …] = x · wᵀ for one piece; y is the whole matrix's.
void product_piece(
    const StepKernels& kernels,
    const PackedMatrix& w,
    const ProductPiece& piece,
    const StepInput& input,
    float* y,
    int ldy);

/// Called after a piece of y is there, with its first row of the weights, their
/// number, and its tokens.
using AfterPiece =
    std::function<void(int row, int rows, int token_begin, int token_end)>;

/// y[tokens, ldy] = x · wᵀ + bias on the pool.
void run_linear(
    const StepKernels& kernels,
    const StepLinear& linear,
    const StepInput& input,
    int tokens,
    float* y,
    int ldy,
    ThreadPool& pool,
    const AfterPiece& after = {});

}  // namespace roofline
