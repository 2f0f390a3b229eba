#include "roofline/kernels/packed_attention/packed_attention.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "roofline/kernels/cpu_op.h"
#include "roofline/kernels/packed_attention/packed_heads.h"
#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline {

namespace {

using namespace packed_heads;

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
