#include "roofline/kernels/block/read_order.h"

#include <algorithm>
#include <cstdint>

#include "roofline/kernels/block/linear.h"

namespace roofline {

namespace {

/// More than a thread reads while it waits, and a small part of the second
/// cache.
constexpr std::size_t kMostAsked = 64 * 1024;

/// The piece that a thread's share of a run begins with, and the next share's.
struct Border {
  int first = 0;
  int end = 0;
};

Border border(int pieces, std::size_t thread, std::size_t threads) {
  const auto at = [&](std::size_t share) {
    return static_cast<int>(static_cast<std::size_t>(pieces) * share / threads);
  };
  return {at(thread), at(thread + 1)};
}

/// Blocks of a matrix from one on.
ReadAhead blocks_of(const PackedMatrix& matrix, int first, int end) {
  const PackedMatrix rows = block_rows(matrix, first, end);
  return {
      rows.data,
      std::min(kMostAsked, packed_bytes(rows, rows.rows, rows.cols))};
}

}  // namespace

void ReadOrder::add(const StepLinear& linear) {
  const StackGrid grid(linear, 1, static_cast<int>(threads_), false);
  for (std::size_t thread = 0; thread < threads_; ++thread) {
    const auto [first, end] = border(grid.pieces(), thread, threads_);
    ReadAhead read;
    if (first < end) {
      const PartGrid& part = grid.part_of(first);
      const ProductPiece piece = part.grid.piece(first - part.first_piece);
      const int last = std::min(end - part.first_piece, part.grid.pieces()) - 1;
      read = blocks_of(
          *part.part,
          piece.block_begin,
          part.grid.piece(last).block_end);
    }
    reads_.push_back(read);
  }
}

void ReadOrder::add(const StepFeedForward& ff) {
  const StepLinear& first_read = ff.gate.parts.empty() ? ff.up : ff.gate;
  const ProductGrid grid =
      hidden_grid(ff, 1, static_cast<int>(threads_), false);
  for (std::size_t thread = 0; thread < threads_; ++thread) {
    const auto [first, end] = border(grid.pieces(), thread, threads_);
    ReadAhead read;
    if (first < end) {
      const ProductPiece piece = grid.piece(first);
      read = blocks_of(first_read.parts[0], piece.block_begin, piece.block_end);
    }
    reads_.push_back(read);
  }
}

void ReadOrder::prepare(
    const StepModel& model,
    const StepLinear& head,
    int threads) {
  const auto count = static_cast<std::size_t>(threads);
  const std::byte* head_data = head.parts.front().data;
  const std::size_t products = kLayerProducts * model.layers.size() + 1;
  if (&model == model_ && head_data == head_ && count == threads_ &&
      reads_.size() == products * count) {
    return;
  }
  model_ = &model;
  head_ = head_data;
  threads_ = count;
  reads_.clear();
  for (const StepLayer& layer : model.layers) {
    add(layer.attention.qkv);
    add(layer.attention.out);
    add(layer.feed_forward);
    add(layer.feed_forward.down);
  }
  add(head);
}

}  // namespace roofline
