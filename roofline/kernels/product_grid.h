// Matrix products cut into pieces for the pool: blocks of 16 rows of the
// weights × ranges of tokens, small enough to balance, large enough that the
// activations of a piece stay in a core's cache.
#pragma once

#include <cstddef>

namespace roofline {

/// Half-open ranges that one piece covers. On tiles token_begin is a multiple
/// of 16.
struct ProductPiece {
  int block_begin = 0;  ///< row blocks of w; of back() groups of 32 columns
  int block_end = 0;
  int token_begin = 0;
  int token_end = 0;
};

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
  /// For products on tiles (bf16_product/); most_blocks: of a piece.
  static ProductGrid for_tiles(
      int blocks,
      int all_blocks,
      int tokens,
      int threads,
      int most_blocks);
  int pieces() const { return block_pieces_ * token_pieces_; }
  int block_step() const { return block_step_; }
  /// The most tokens of a piece.
  int token_step() const;
  ProductPiece piece(int index) const;

 private:
  int token_border(int piece) const;

  int blocks_ = 0;
  int tokens_ = 0;
  int block_step_ = 1;
  int token_unit_ = 1;  ///< tokens of a piece are a multiple, but the last's
  int block_pieces_ = 0;
  int token_pieces_ = 0;
};

}  // namespace roofline
