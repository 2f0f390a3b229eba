// What attention over packed samples and its gradient share: one head's rows of
// one sample, rotated and padded, and a block's scores. Private to this folder.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/packed_attention/packed_attention.h"

namespace roofline::packed_heads {

/// Queries of a block: a multiple of the product's rows.
inline constexpr int kBlock = 48;
/// Rows of heads are padded to a whole vector of every instruction set.
inline constexpr int kPad = 16;

using Floats = std::vector<float>;

inline int padded(int n) {
  return (n + kPad - 1) / kPad * kPad;
}

/// What one sample's keys, values and one head's queries become; one a thread.
class Head {
 public:
  Head(const PackedAttention& args, const float* qkv)
      : args_(args), qkv_(qkv), dims_(padded(args.head_dim)) {}

  int dims() const { return dims_; }
  int tokens() const { return tokens_; }

  void open(int sample, int kv_head) {
    const auto& first = *args_.first;
    begin_ = first[static_cast<std::size_t>(sample)];
    tokens_ = first[static_cast<std::size_t>(sample) + 1] - begin_;
    keys.assign(static_cast<std::size_t>(tokens_) * dims_, 0.0f);
    values.assign(static_cast<std::size_t>(tokens_) * dims_, 0.0f);
    for (int t = 0; t < tokens_; ++t) {
      copy(t, args_.heads + kv_head, &keys[at(t)]);
      turn(t, &keys[at(t)], sine(t));
      copy(t, args_.heads + args_.kv_heads + kv_head, &values[at(t)]);
    }
  }

  /// Queries [t, t + count), rotated and scaled.
  void load_queries(int head, int t, int count) {
    queries.assign(static_cast<std::size_t>(kBlock) * dims_, 0.0f);
    for (int i = 0; i < count; ++i) {
      float* row = &queries[at(i)];
      copy(t + i, head, row);
      turn(t + i, row, sine(t + i));
      row_kernels().scale_and_cap(row, args_.scale, 0.0f, args_.head_dim);
    }
  }

  /// A gradient's row back to the plane it came from.
  void turn_back(int t, float* row) const {
    if (args_.rope) {
      turn(t, row, args_.rope->minus_sin.data() + table_row(t));
    }
  }

  int row(int t) const { return begin_ + t; }
  std::size_t at(int t) const { return static_cast<std::size_t>(t) * dims_; }

  Floats keys, values, queries;  ///< [.., dims]

 private:
  void copy(int t, int head, float* to) const {
    const auto from = static_cast<std::ptrdiff_t>(row(t)) * args_.qkv_width() +
                      std::ptrdiff_t{head} * args_.head_dim;
    std::copy_n(qkv_ + from, args_.head_dim, to);
  }
  std::size_t table_row(int t) const {
    return static_cast<std::size_t>(row(t)) *
           static_cast<std::size_t>(args_.rope->width);
  }
  const float* sine(int t) const {
    return args_.rope ? args_.rope->sin.data() + table_row(t) : nullptr;
  }
  void turn(int t, float* row, const float* sine) const {
    if (args_.rope) {
      row_kernels().rope(
          row,
          1,
          args_.head_dim,
          args_.rope->rotated_dims,
          args_.rope->layout,
          args_.rope->cos.data() + table_row(t),
          sine);
    }
  }

  const PackedAttention& args_;
  const float* qkv_;
  int dims_;
  int begin_ = 0;
  int tokens_ = 0;
};

/// rows [tokens][dims] turned into panels for products with their transpose.
inline void make_panels(
    const Floats& rows,
    int tokens,
    int dims,
    Floats& panels) {
  const auto& kernels = gemm_kernels();
  const int panel = kernels.panel;
  const int count = (tokens + panel - 1) / panel;
  panels.resize(static_cast<std::size_t>(count) * panel * dims);
  for (int p = 0; p < count; ++p) {
    const int first = p * panel;
    kernels.turn(
        rows.data() + static_cast<std::ptrdiff_t>(first) * dims,
        dims,
        std::min(panel, tokens - first),
        dims,
        panels.data() + static_cast<std::ptrdiff_t>(first) * dims);
  }
}

/// c[rows, columns] (+)= a · b, b [depth, leading] row after row.
inline void multiply(
    const GemmLeft& a,
    int rows,
    const float* b,
    int leading,
    int depth,
    int columns,
    float* c,
    std::ptrdiff_t ldc,
    bool accumulate) {
  const auto& kernels = gemm_kernels();
  for (int n = 0; n < columns; n += kernels.panel) {
    kernels.tile(
        a,
        rows,
        b + n,
        leading,
        depth,
        std::min(kernels.panel, columns - n),
        c + n,
        ldc,
        accumulate);
  }
}

/// Which keys a block of queries meets, from a panel's border on.
struct Keys {
  Keys(const PackedAttention& args, int begin, int end) {
    const int panel = gemm_kernels().panel;
    const int oldest =
        args.window_tokens ? std::max(0, begin - *args.window_tokens + 1) : 0;
    first = oldest / panel * panel;
    count = end - first;
  }
  int first = 0;
  int count = 0;
};

/// A block's scores: rows of queries, columns of keys.
class Scores {
 public:
  Scores(const PackedAttention& args, int most_tokens)
      : args_(args), stride_(padded(most_tokens)) {
    values_.resize(static_cast<std::size_t>(kBlock) * stride_);
  }

  int stride() const { return stride_; }
  float* row(int i) { return values_.data() + std::ptrdiff_t{i} * stride_; }

  /// queries · turnedᵀ for the keys of the block.
  void compute(
      const float* rows,
      int count,
      const Floats& panels,
      int dims,
      const Keys& keys) {
    const auto& kernels = gemm_kernels();
    for (int k = 0; k < keys.count; k += kernels.panel) {
      kernels.tile(
          {rows, dims, 1},
          count,
          panels.data() + std::ptrdiff_t{keys.first + k} * dims,
          kernels.panel,
          dims,
          std::min(kernels.panel, keys.count - k),
          values_.data() + k,
          stride_,
          false);
    }
  }

  /// The columns that query t (row i) sees; the others become zero.
  std::pair<int, int> seen(int i, int t, const Keys& keys) {
    const int oldest =
        args_.window_tokens ? std::max(0, t - *args_.window_tokens + 1) : 0;
    const int from = std::max(0, oldest - keys.first);
    const int to = t + 1 - keys.first;
    std::fill(row(i), row(i) + from, 0.0f);
    std::fill(row(i) + to, row(i) + keys.count, 0.0f);
    return {from, to};
  }

 private:
  const PackedAttention& args_;
  int stride_;
  Floats values_;
};

inline int most_tokens(const PackedAttention& args) {
  int most = 0;
  for (std::size_t i = 0; i + 1 < args.first->size(); ++i) {
    most = std::max(most, (*args.first)[i + 1] - (*args.first)[i]);
  }
  return most;
}

inline int samples(const PackedAttention& args) {
  return static_cast<int>(args.first->size()) - 1;
}

}  // namespace roofline::packed_heads
