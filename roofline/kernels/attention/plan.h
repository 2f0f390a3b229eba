// Cuts attention calls into pieces of about equal work for a thread pool: by
// key-value head, by tiles of queries, and, where that gives too few (decode),
// by ranges of keys, whose results the last piece to finish combines.
// Keeps its memory from one use to the next.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "roofline/kernels/attention/bf16_rows.h"
#include "roofline/kernels/attention/known_calls.h"
#include "roofline/kernels/attention/task.h"

namespace roofline {

/// What the products of many rows are computed in. bfloat16 where the processor
/// and the call allow it (bf16_rows.h), on AVX2 integers that round less
/// (AttentionKernels::whole_rows). row_by_row: float32 in the order in
/// which a row alone sums up, so that guesses are checked with what a step for
/// each would give.
enum class AttentionProducts { float32, bfloat16, row_by_row };

class AttentionPlan {
 public:
  /// Prepares the calls for `threads` workers. `args` must stay until the last
  /// run(). Calls like the last ones keep their cut, and the other threads what
  /// they have read of it. Throws BugError for heads that aren't a multiple of
  /// kv_heads.
  void prepare(
      std::span<const AttentionArgs> args,
      int threads,
      AttentionProducts products = AttentionProducts::float32);
  /// Pieces of work; run() each once, in any order, from any thread. Returns
  /// the key-value head whose queries have all their outputs with it, -1 where
  /// other pieces add to them.
  int pieces() const { return static_cast<int>(pieces_.size()); }
  int run(int piece, int worker);

 private:
  /// Queries of one call that one task serves, for all its kv heads.
  struct Tile {
    int args = 0;
    int token_begin = 0;
    int token_end = 0;
    int keys = 0;  ///< that some query sees
    int splits = 1;
    int first_run = 0;  ///< index into ends_ of the first split
  };
  struct Piece {
    int tile = 0;
    int kv_head = 0;
    int split = 0;
    int group = 0;            ///< splits of one tile and head share a group
    std::size_t partial = 0;  ///< floats into partials_
  };

  /// Takes over what calls are computed with; returns whether that changed.
  bool choose(int threads, AttentionProducts products);
  void cut();
  void add_tiles(int index);
  void cut_keys(Tile& tile);
  void add_pieces(int tile_index);
  void combine(const Piece& piece);
  int tile_rows(const Tile& tile) const;
  bool is_tiled(const AttentionArgs& args) const;
  int tiled_rows(const AttentionArgs& args) const;
  /// What runs a task of so many rows.
  enum class Kernel { few_rows, bfloat16, whole_rows, many_rows };
  Kernel kernel_of(const AttentionArgs& args, int rows) const;
  std::size_t scratch_of(const Tile& tile) const;

  const AttentionKernels* kernels_ = nullptr;
  ManyRows bf16_rows_ = nullptr;  ///< nullptr: not wanted, or not there
  bool whole_rows_ = false;       ///< wanted, and there
  bool row_by_row_ = false;
  int most_splits_ = 1;
  std::span<const AttentionArgs> args_;
  KnownCalls known_;  ///< the cut is theirs
  int threads_ = 1;
  std::vector<Tile> tiles_;
  std::vector<Piece> pieces_;
  std::vector<KeyRun> runs_;
  std::vector<int> ends_;  ///< per split: end of its runs in runs_
  std::vector<float> scratch_;
  std::size_t scratch_each_ = 0;
  std::vector<float> partials_;
  std::size_t partial_floats_ = 0;
  int groups_ = 0;
  std::unique_ptr<std::atomic<int>[]> done_;
  int done_capacity_ = 0;
};

}  // namespace roofline
