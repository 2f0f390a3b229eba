// Work on the rows of a matrix one by one, on a pool's threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "roofline/base/thread_pool.h"

namespace roofline {

/// Calls fn(row, worker) for each row, a few rows a piece.
template <class F>
void each_pooled_row(std::int64_t rows, ThreadPool& pool, F fn) {
  constexpr std::int64_t kPieceRows = 32;
  auto piece = [&](int index, int worker) {
    const std::int64_t end = std::min(rows, (index + 1) * kPieceRows);
    for (std::int64_t row = index * kPieceRows; row < end; ++row) {
      fn(row, worker);
    }
  };
  pool.run(static_cast<int>((rows + kPieceRows - 1) / kPieceRows), piece);
}

/// One float buffer of a row's length for each worker.
class RowBuffers {
 public:
  RowBuffers(const ThreadPool& pool, std::int64_t cols)
      : cols_(static_cast<std::size_t>(cols)),
        values_(cols_ * static_cast<std::size_t>(pool.threads())) {}
  std::span<float> of(int worker) {
    return {values_.data() + cols_ * static_cast<std::size_t>(worker), cols_};
  }

 private:
  std::size_t cols_;
  std::vector<float> values_;
};

}  // namespace roofline
