// Rows of a matrix in pieces on a pool.
#pragma once

#include "roofline/base/thread_pool.h"

namespace roofline {

/// Runs fn(row) for all rows in pieces on the pool.
template <class Fn>
void for_each_row(int rows, ThreadPool& pool, Fn fn, int piece_rows = 16) {
  auto piece = [&](int index, int) {
    const int end =
        rows < (index + 1) * piece_rows ? rows : (index + 1) * piece_rows;
    for (int row = index * piece_rows; row < end; ++row) {
      fn(row);
    }
  };
  pool.run((rows + piece_rows - 1) / piece_rows, piece);
}

}  // namespace roofline
