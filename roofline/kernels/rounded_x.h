// Rows of activations as products on tiles take them, with memory of their own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/aligned_buffer.h"
#include "roofline/kernels/bf16_product/bf16_product.h"

namespace roofline {

struct RoundedX {
  /// x(t), [cols], becomes row places(t) of `room`, for each of so many tokens;
  /// read before this returns. bf16_product_kernels() must be there.
  template <class Rows, class Places>
  RoundedX(
      int tokens,
      int room,
      int cols,
      ThreadPool& pool,
      Rows x,
      Places places) {
    memory.grow(RoundedRows::size(room, cols));
    rows = RoundedRows::over(room, cols, memory.data());
    constexpr int kTokens = 16;  // a piece: a few microseconds
    const Bf16ProductKernels& kernels = *bf16_product_kernels();
    auto round = [&](int piece, int) {
      const int end = std::min(tokens, (piece + 1) * kTokens);
      for (int t = piece * kTokens; t < end; ++t) {
        kernels.round(x(t), cols, places(t), 0, rows);
      }
    };
    pool.run((tokens + kTokens - 1) / kTokens, round);
  }
  /// x: [tokens, cols].
  RoundedX(const float* x, int tokens, int cols, ThreadPool& pool)
      : RoundedX(
            tokens,
            tokens,
            cols,
            pool,
            [=](int t) { return x + static_cast<std::ptrdiff_t>(t) * cols; },
            [](int t) { return t; }) {}

  AlignedBuffer<std::uint16_t> memory;
  RoundedRows rows;
};

}  // namespace roofline
