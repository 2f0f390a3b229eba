#include "roofline/model/graph_codes.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <mlx/backend/cuda/cuda.h>
#include <mlx/ops.h>

#include "roofline/kernels/attention/cached_attention.h"

namespace roofline {

namespace {

/// Up to so many queries MLX's quantized products read the codes; for more it
/// is better to turn them into floats once.
constexpr int kFewTokens = 8;

/// With the CPU's kernels.
mx::array attend_kernels(
    const GraphQueries& queries,
    KvCache& cache,
    int layer,
    std::optional<int> value_dim) {
  auto& keys = cache.key_store(layer);
  auto& values = cache.value_store(layer);
  const auto& q = queries.q;
  const int heads = q.shape(1);
  const int tokens = q.shape(2);
  CachedAttention what;
  what.latent = value_dim.has_value();
  what.segments = cache.segments(layer);
  AttentionArgs& args = what.args;
  args.tokens = tokens;
  args.heads = heads;
  args.first_position = queries.position;
  args.scale = queries.scale;
  args.window_tokens = queries.window_tokens;
  args.softcap = queries.softcap;
  KvView& kv = args.kv;
  kv.type = keys.floats().dtype() == mx::float32 ? KvType::f32 : KvType::f16;
  kv.kv_heads = keys.shape().heads;
  kv.head_dim = keys.shape().dims;
  kv.slots = keys.slots();
  kv.full_slots = std::min(kv.slots, keys.shape().full_slots);
  kv.key_codes = keys.sizes();
  kv.value_codes = what.latent ? kv.key_codes : values.sizes();
  kv.value_dim = value_dim.value_or(values.shape().dims);
  kv.value_row = what.latent ? kv.head_dim : kv.value_dim;
  args.q_stride = heads * kv.head_dim;
  args.out_stride = heads * kv.value_dim;
  const auto rows =
      mx::reshape(mx::transpose(q, {0, 2, 1, 3}), {tokens, args.q_stride});
  const int out_dim = kv.value_dim;
  KvOrder& order = cache.order(layer);
  const auto attended = cached_attention(
      rows,
      keys.arrays(),
      what.latent ? std::vector<mx::array>() : values.arrays(),
      queries.sinks,
      order.written ? std::vector<mx::array>{*order.written}
                    : std::vector<mx::array>(),
      std::move(what));
  if (attended.read) {
    order.read.push_back(*attended.read);
  }
  return mx::astype(
      mx::transpose(
          mx::reshape(attended.y, {1, tokens, heads, out_dim}),
          {0, 2, 1, 3}),
      q.dtype());
}

mx::array slots_of(const mx::array& held, int begin, int end) {
  return mx::slice(
      held,
      mx::Shape{0, 0, begin, 0},
      mx::Shape{1, held.shape(1), end, held.shape(3)});
}

/// Slots [first, first + count) of a store in MLX's layout, cut where the
/// floats end.
struct SlotParts {
  std::optional<mx::array> floats;  ///< [1, heads, slots, dims]
  std::vector<mx::array> codes;
  int float_slots = 0;
};

SlotParts parts_of(KvStore& store, const SlotMask& mask) {
  SlotParts parts;
  const int floats = store.in_codes() ? store.float_slots() : store.slots();
  const int end = mask.first_slot + mask.slots;
  parts.float_slots = std::clamp(floats - mask.first_slot, 0, mask.slots);
  if (parts.float_slots > 0) {
    parts.floats = slots_of(
        store.floats(),
        mask.first_slot,
        mask.first_slot + parts.float_slots);
  }
  if (end > floats) {
    for (const auto& array : store.codes()) {
      parts.codes.push_back(
          slots_of(array, std::max(0, mask.first_slot - floats), end - floats));
    }
  }
  return parts;
}

mx::array quantized_product(
    const mx::array& x,
    const SlotParts& parts,
    const KvStoreShape& shape,
    bool transpose) {
  return mx::quantized_matmul(
      x,
      parts.codes[0],
      parts.codes[1],
      parts.codes[2],
      transpose,
      shape.group_size,
      shape.bits,
      "affine");
}

/// rows [1, kv_heads, rows, dims] · keysᵀ → [1, kv_heads, rows, slots].
mx::array scores_of(
    const mx::array& rows,
    KvStore& store,
    const SlotMask& mask) {
  const auto parts = parts_of(store, mask);
  std::vector<mx::array> scores;
  if (parts.floats) {
    const auto k = mx::astype(*parts.floats, rows.dtype());
    scores.push_back(mx::matmul(rows, mx::transpose(k, {0, 1, 3, 2})));
  }
  if (!parts.codes.empty()) {
    const int groups = parts.codes[1].shape(3);
    const int more = groups * store.shape().group_size - rows.shape(3);
    const auto whole =
        more == 0 ? rows : mx::pad(rows, {{0, 0}, {0, 0}, {0, 0}, {0, more}});
    scores.push_back(mx::astype(
        quantized_product(whole, parts, store.shape(), true),
        rows.dtype()));
  }
  return scores.size() == 1 ? scores[0] : mx::concatenate(scores, 3);
}

/// weights [1, kv_heads, rows, slots] · values → [1, kv_heads, rows, dims].
mx::array weighted_sum(
    const mx::array& weights,
    KvStore& store,
    const SlotMask& mask,
    int dims) {
  const auto parts = parts_of(store, mask);
  const auto columns_of = [&](int begin, int end) {
    return mx::slice(
        weights,
        mx::Shape{0, 0, 0, begin},
        mx::Shape{1, weights.shape(1), weights.shape(2), end});
  };
  const auto first_dims = [&](const mx::array& x) {
    return mx::slice(
        x,
        mx::Shape{0, 0, 0, 0},
        mx::Shape{1, x.shape(1), x.shape(2), dims});
  };
  std::optional<mx::array> sum;
  if (parts.floats) {
    sum = mx::matmul(
        columns_of(0, parts.float_slots),
        mx::astype(first_dims(*parts.floats), weights.dtype()));
  }
  if (!parts.codes.empty()) {
    const auto coded = mx::astype(
        first_dims(quantized_product(
            columns_of(parts.float_slots, mask.slots),
            parts,
            store.shape(),
            false)),
        weights.dtype());
    sum = sum ? mx::add(*sum, coded) : coded;
  }
  return *sum;
}

/// Softmax over the last axis of scores [1, kv_heads, group, tokens, slots];
/// a sink [heads] takes part and goes nowhere.
mx::array weights_of(
    mx::array scores,
    const GraphQueries& queries,
    const SlotMask& mask) {
  const auto type = scores.dtype();
  const auto shape = scores.shape();
  if (queries.softcap) {
    const mx::array cap(*queries.softcap, type);
    scores = mx::multiply(mx::tanh(mx::divide(scores, cap)), cap);
  }
  if (const auto seen = seen_of(mask, shape[3])) {
    const mx::array never(-std::numeric_limits<float>::infinity(), type);
    scores = mx::where(*seen, scores, never);
  }
  if (!queries.sinks) {
    return mx::softmax(scores, -1, /* precise = */ true);
  }
  const auto sink = mx::broadcast_to(
      mx::reshape(
          mx::astype(*queries.sinks, type),
          {1, shape[1], shape[2], 1, 1}),
      {1, shape[1], shape[2], shape[3], 1});
  const auto all = mx::softmax(mx::concatenate({scores, sink}, 4), -1, true);
  return mx::slice(all, {0, 0, 0, 0, 0}, shape);
}

/// With MLX's quantized products. The query heads of a key-value head become
/// rows of one product.
mx::array attend_quantized(
    const GraphQueries& queries,
    KvCache& cache,
    int layer,
    const SlotMask& mask,
    std::optional<int> value_dim) {
  auto& keys = cache.key_store(layer);
  auto& values = value_dim ? keys : cache.value_store(layer);
  const auto& q = queries.q;
  const int heads = q.shape(1);
  const int tokens = q.shape(2);
  const int kv_heads = keys.shape().heads;
  const int group = heads / kv_heads;
  const int dims = value_dim.value_or(values.shape().dims);
  const auto rows = mx::reshape(
      mx::multiply(q, mx::array(queries.scale, q.dtype())),
      {1, kv_heads, group * tokens, q.shape(3)});
  const auto scores = mx::reshape(
      scores_of(rows, keys, mask),
      {1, kv_heads, group, tokens, mask.slots});
  const auto weights = mx::reshape(
      weights_of(scores, queries, mask),
      {1, kv_heads, group * tokens, mask.slots});
  return mx::reshape(
      weighted_sum(weights, values, mask, dims),
      {1, heads, tokens, dims});
}

}  // namespace

std::optional<mx::array> attend_in_place(
    const GraphQueries& queries,
    KvCache& cache,
    int layer,
    const SlotMask& mask,
    AttentionBy by,
    std::optional<int> value_dim) {
  auto& keys = cache.key_store(layer);
  if (by == AttentionBy::kernels) {
    return attend_kernels(queries, cache, layer, value_dim);
  }
  if (!keys.in_codes() && !cache.value_store(layer).in_codes()) {
    return std::nullopt;
  }
  if (keys.shape().layout == KvLayout::kernels) {
    return attend_kernels(queries, cache, layer, value_dim);
  }
  // MLX's CUDA backend has no such product of several heads (0.32.4).
  if (queries.q.shape(2) > kFewTokens || mx::cu::is_available()) {
    return std::nullopt;
  }
  return attend_quantized(queries, cache, layer, mask, value_dim);
}

}  // namespace roofline
