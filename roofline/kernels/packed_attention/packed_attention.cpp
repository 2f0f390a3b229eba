#include "roofline/kernels/packed_attention/packed_attention.h"

#include <algorithm>
#include <cmath>

#include "roofline/kernels/cpu_op.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline {

namespace {

/// Queries of a block: a multiple of the product's rows.
constexpr int kBlock = 48;
/// Rows of heads are padded to a whole vector of every instruction set.
constexpr int kPad = 16;

using Floats = std::vector<float>;

int padded(int n) {
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
void make_panels(const Floats& rows, int tokens, int dims, Floats& panels) {
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
void multiply(
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

int most_tokens(const PackedAttention& args) {
  int most = 0;
  for (std::size_t i = 0; i + 1 < args.first->size(); ++i) {
    most = std::max(most, (*args.first)[i + 1] - (*args.first)[i]);
  }
  return most;
}

int samples(const PackedAttention& args) {
  return static_cast<int>(args.first->size()) - 1;
}

/// One head's forward pass over one sample.
void attend_head(
    const PackedAttention& args,
    Head& h,
    int head,
    const Floats& key_panels,
    Scores& scores,
    float* out,
    float* lse) {
  const auto& grads = row_grad_kernels();
  for (int begin = 0; begin < h.tokens(); begin += kBlock) {
    const int count = std::min(kBlock, h.tokens() - begin);
    const Keys keys(args, begin, begin + count);
    h.load_queries(head, begin, count);
    scores.compute(h.queries.data(), count, key_panels, h.dims(), keys);
    for (int i = 0; i < count; ++i) {
      const auto [from, to] = scores.seen(i, begin + i, keys);
      float* row = scores.row(i) + from;
      if (args.softcap) {
        row_kernels().scale_and_cap(row, 1.0f, *args.softcap, to - from);
      }
      lse[std::ptrdiff_t{h.row(begin + i)} * args.heads + head] =
          grads.softmax(row, to - from);
    }
    multiply(
        {scores.row(0), scores.stride(), 1},
        count,
        h.values.data() + h.at(keys.first),
        h.dims(),
        keys.count,
        args.head_dim,
        out + std::ptrdiff_t{h.row(begin)} * args.out_width() +
            std::ptrdiff_t{head} * args.head_dim,
        args.out_width(),
        false);
  }
}

/// Gradients of one sample's head; adds to those of its keys and values.
struct HeadGrad {
  const PackedAttention& args;
  Head& h;
  Scores& scores;
  Scores& d_scores;
  const Floats& key_panels;
  const Floats& value_panels;
  Floats& d_keys;
  Floats& d_values;
  Floats d_out_rows = {};
  Floats d_queries = {};

  void run(
      int head,
      const float* out,
      const float* lse,
      const float* d_out,
      float* d_qkv) {
    for (int begin = 0; begin < h.tokens(); begin += kBlock) {
      const int count = std::min(kBlock, h.tokens() - begin);
      const Keys keys(args, begin, begin + count);
      load(head, begin, count, d_out);
      probabilities(head, begin, count, keys, out, lse);
      add_products(count, keys);
      store_queries(head, begin, count, keys, d_qkv);
    }
  }

 private:
  std::ptrdiff_t out_at(int t, int head) const {
    return std::ptrdiff_t{h.row(t)} * args.out_width() +
           std::ptrdiff_t{head} * args.head_dim;
  }

  void load(int head, int begin, int count, const float* d_out) {
    h.load_queries(head, begin, count);
    d_out_rows.assign(static_cast<std::size_t>(kBlock) * h.dims(), 0.0f);
    for (int i = 0; i < count; ++i) {
      std::copy_n(
          d_out + out_at(begin + i, head),
          args.head_dim,
          &d_out_rows[h.at(i)]);
    }
  }

  /// Leaves probabilities in scores and the gradient of the products in
  /// d_scores.
  void probabilities(
      int head,
      int begin,
      int count,
      const Keys& keys,
      const float* out,
      const float* lse) {
    const auto& grads = row_grad_kernels();
    const int dims = h.dims();
    scores.compute(h.queries.data(), count, key_panels, dims, keys);
    d_scores.compute(d_out_rows.data(), count, value_panels, dims, keys);
    for (int i = 0; i < count; ++i) {
      const int t = begin + i;
      const auto [from, to] = scores.seen(i, t, keys);
      d_scores.seen(i, t, keys);
      float* p = scores.row(i) + from;
      float* d = d_scores.row(i) + from;
      const int n = to - from;
      std::vector<float> capped;
      if (args.softcap) {
        row_kernels().scale_and_cap(p, 1.0f, *args.softcap, n);
        capped.assign(p, p + n);
      }
      const float mean =
          grads.dot(&d_out_rows[h.at(i)], out + out_at(t, head), args.head_dim);
      grads.exp_minus(p, lse[std::ptrdiff_t{h.row(t)} * args.heads + head], n);
      grads.softmax_grad(p, mean, n, d);
      for (std::size_t k = 0; k < capped.size(); ++k) {
        const float share = capped[k] / *args.softcap;
        d[k] *= 1.0f - share * share;
      }
    }
  }

  void add_products(int count, const Keys& keys) {
    const int dims = h.dims();
    const auto transposed = [&](Scores& s) {
      return GemmLeft{s.row(0), 1, s.stride()};
    };
    multiply(
        transposed(scores),
        keys.count,
        d_out_rows.data(),
        dims,
        count,
        dims,
        &d_values[h.at(keys.first)],
        dims,
        true);
    multiply(
        transposed(d_scores),
        keys.count,
        h.queries.data(),
        dims,
        count,
        dims,
        &d_keys[h.at(keys.first)],
        dims,
        true);
  }

  void store_queries(
      int head,
      int begin,
      int count,
      const Keys& keys,
      float* d_qkv) {
    const int dims = h.dims();
    d_queries.resize(static_cast<std::size_t>(kBlock) * dims);
    multiply(
        {d_scores.row(0), d_scores.stride(), 1},
        count,
        h.keys.data() + h.at(keys.first),
        dims,
        keys.count,
        dims,
        d_queries.data(),
        dims,
        false);
    for (int i = 0; i < count; ++i) {
      float* row = &d_queries[h.at(i)];
      h.turn_back(begin + i, row);
      row_kernels().scale_and_cap(row, args.scale, 0.0f, args.head_dim);
      std::copy_n(
          row,
          args.head_dim,
          d_qkv + std::ptrdiff_t{h.row(begin + i)} * args.qkv_width() +
              std::ptrdiff_t{head} * args.head_dim);
    }
  }
};

/// Both gradients of a sample's key-value head, and of its group's queries.
void attend_group_grad(
    const PackedAttention& args,
    Head& h,
    int kv_head,
    const float* out,
    const float* lse,
    const float* d_out,
    float* d_qkv) {
  Floats key_panels;
  Floats value_panels;
  make_panels(h.keys, h.tokens(), h.dims(), key_panels);
  make_panels(h.values, h.tokens(), h.dims(), value_panels);
  Floats d_keys(h.keys.size(), 0.0f);
  Floats d_values(h.values.size(), 0.0f);
  Scores scores(args, h.tokens());
  Scores d_scores(args, h.tokens());
  HeadGrad grad{
      args,
      h,
      scores,
      d_scores,
      key_panels,
      value_panels,
      d_keys,
      d_values};
  const int group = args.heads / args.kv_heads;
  for (int i = 0; i < group; ++i) {
    grad.run(kv_head * group + i, out, lse, d_out, d_qkv);
  }
  for (int t = 0; t < h.tokens(); ++t) {
    h.turn_back(t, &d_keys[h.at(t)]);
    float* row = d_qkv + std::ptrdiff_t{h.row(t)} * args.qkv_width() +
                 std::ptrdiff_t{args.heads + kv_head} * args.head_dim;
    std::copy_n(&d_keys[h.at(t)], args.head_dim, row);
    std::copy_n(
        &d_values[h.at(t)],
        args.head_dim,
        row + std::ptrdiff_t{args.kv_heads} * args.head_dim);
  }
}

}  // namespace

RopeTable make_rope_table(const RopeSpec& spec, const std::vector<int>& first) {
  RopeTable table;
  table.layout = spec.layout;
  table.rotated_dims = spec.rotated_dims;
  table.width = spec.rotated_dims;
  const auto size = static_cast<std::size_t>(first.back()) *
                    static_cast<std::size_t>(table.width);
  table.cos.resize(size);
  table.sin.resize(size);
  for (std::size_t i = 0; i + 1 < first.size(); ++i) {
    const int tokens = first[i + 1] - first[i];
    const RopeRegime regime = spec.regime_for(tokens);
    for (int t = 0; t < tokens; ++t) {
      const auto at = static_cast<std::size_t>(first[i] + t) *
                      static_cast<std::size_t>(table.width);
      fill_rope_row(regime, spec.layout, t, &table.cos[at], &table.sin[at]);
    }
  }
  table.minus_sin = table.sin;
  for (float& value : table.minus_sin) {
    value = -value;
  }
  return table;
}

void attend_packed(
    const PackedAttention& args,
    const float* qkv,
    float* out,
    float* lse,
    ThreadPool& pool) {
  const int most = most_tokens(args);
  auto piece = [&](int index, int) {
    const int head = index % args.heads;
    Head h(args, qkv);
    h.open(index / args.heads, head / (args.heads / args.kv_heads));
    Floats panels;
    make_panels(h.keys, h.tokens(), h.dims(), panels);
    Scores scores(args, most);
    attend_head(args, h, head, panels, scores, out, lse);
  };
  pool.run(samples(args) * args.heads, piece);
}

void attend_packed_grad(
    const PackedAttention& args,
    const float* qkv,
    const float* out,
    const float* lse,
    const float* d_out,
    float* d_qkv,
    ThreadPool& pool) {
  auto piece = [&](int index, int) {
    const int kv_head = index % args.kv_heads;
    Head h(args, qkv);
    h.open(index / args.kv_heads, kv_head);
    attend_group_grad(args, h, kv_head, out, lse, d_out, d_qkv);
  };
  pool.run(samples(args) * args.kv_heads, piece);
}

mx::array packed_attention(const mx::array& qkv, const PackedAttention& args) {
  CpuOp op;
  op.name = "PackedAttention";
  op.out_shapes = {
      {args.tokens(), args.out_width()},
      {args.tokens(), args.heads}};
  op.eval = [args](const CpuOpMemory& m) {
    attend_packed(args, m.in[0], m.out[0], m.out[1], ThreadPool::global());
  };
  op.vjp = [args](
               const std::vector<mx::array>& inputs,
               const std::vector<mx::array>& cotangents,
               const std::vector<mx::array>& outputs,
               const std::vector<int>&) {
    CpuOp grad;
    grad.name = "PackedAttentionGrad";
    grad.out_shapes = {inputs[0].shape()};
    grad.eval = [args](const CpuOpMemory& m) {
      attend_packed_grad(
          args,
          m.in[0],
          m.in[1],
          m.in[2],
          m.in[3],
          m.out[0],
          ThreadPool::global());
    };
    return cpu_op(
        std::move(grad),
        {inputs[0], outputs[0], outputs[1], cotangents[0]});
  };
  return cpu_op(std::move(op), {qkv})[0];
}

}  // namespace roofline
