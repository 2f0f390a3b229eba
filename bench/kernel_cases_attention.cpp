// Attention over a cache, and that of training.
#include <memory>

#include <fmt/format.h>

#include "kernel_cases_parts.h"
#include "roofline/kernels/attention/attention.h"
#include "roofline/kernels/packed_attention/packed_attention.h"

namespace roofline::bench {

namespace {

/// Llama-3.2-1B's attention.
constexpr int kHeads = 32;
constexpr int kKvHeads = 8;
constexpr int kHeadDim = 64;

/// `layers` caches of `depth` keys, met by the last `tokens` of them.
KernelCase attention_case(int tokens, int depth, int layers) {
  struct State {
    State(int tokens, int depth, int layers)
        : each(std::size_t{2} * kKvHeads * kHeadDim * depth),
          cache(2 * each * std::size_t(layers)),
          q(some_floats(std::size_t(tokens) * kHeads * kHeadDim)),
          out(q.size()),
          segment{0, 0, depth} {}
    std::size_t each;  ///< bytes of a layer's keys, and of its values
    Buffer cache;
    std::vector<float> q;
    std::vector<float> out;
    KvSegment segment;
  };
  const auto s = std::make_shared<State>(tokens, depth, layers);
  KernelCase out;
  out.run = [s, tokens, depth, layers] {
    for (int layer = 0; layer < layers; ++layer) {
      AttentionArgs args;
      args.q = s->q.data();
      args.q_stride = kHeads * kHeadDim;
      args.out = s->out.data();
      args.out_stride = args.q_stride;
      args.tokens = tokens;
      args.heads = kHeads;
      args.first_position = depth - tokens;
      args.scale = 0.125f;
      args.kv.keys = s->cache.data() + 2 * s->each * std::size_t(layer);
      args.kv.values = static_cast<std::byte*>(args.kv.keys) + s->each;
      args.kv.kv_heads = kKvHeads;
      args.kv.head_dim = kHeadDim;
      args.kv.slots = depth;
      args.kv.segments = {&s->segment, 1};
      attend(args, ThreadPool::global());
    }
  };
  const double seen =
      1.0 * tokens * (depth - tokens) + 0.5 * tokens * (tokens + 1.0);
  out.bytes = 2.0 * layers * static_cast<double>(s->each);
  out.operations = 4.0 * layers * kHeads * kHeadDim * seen;
  return out;
}

KernelCase packed_attention_case(int tokens) {
  struct State {
    PackedAttention args;
    std::vector<float> qkv;
    std::vector<float> out;
    std::vector<float> lse;
  };
  const auto s = std::make_shared<State>();
  s->args.heads = kHeads;
  s->args.kv_heads = kKvHeads;
  s->args.head_dim = kHeadDim;
  s->args.scale = 0.125f;
  s->args.first =
      std::make_shared<const std::vector<int>>(std::vector{0, tokens});
  s->qkv = some_floats(std::size_t(tokens) * s->args.qkv_width());
  s->out.resize(std::size_t(tokens) * s->args.out_width());
  s->lse.resize(std::size_t(tokens) * kHeads);
  KernelCase out;
  out.run = [s] {
    attend_packed(
        s->args,
        s->qkv.data(),
        s->out.data(),
        s->lse.data(),
        ThreadPool::global());
  };
  out.operations = 4.0 * kHeads * kHeadDim * 0.5 * tokens * (tokens + 1.0);
  return out;
}

}  // namespace

void add_attention(std::vector<CaseMaker>& cases) {
  const auto heads =
      fmt::format("{} heads over {} of {}", kHeads, kKvHeads, kHeadDim);
  cases.push_back(
      {"attention.few_rows f16",
       heads + ", 1 query, 4096 keys",
       Roof::bandwidth,
       [] { return attention_case(1, 4096, 16); }});
  cases.push_back(
      {"attention.many_rows f16", heads + ", 512 queries", Roof::float32, [] {
         return attention_case(512, 512, 1);
       }});
  cases.push_back(
      {"packed_attention", heads + ", 512 tokens", Roof::float32, [] {
         return packed_attention_case(512);
       }});
}

}  // namespace roofline::bench
