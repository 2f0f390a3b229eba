#include <algorithm>
#include <cstddef>
#include <vector>

#include "roofline/kernels/packed_attention/packed_heads.h"
#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline {

namespace {

using namespace packed_heads;

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

}  // namespace roofline
