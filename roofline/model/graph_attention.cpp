#include "roofline/model/graph_attention.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <mlx/fast.h>
#include <mlx/ops.h>

#include "roofline/kernels/attention/cached_attention.h"
#include "roofline/model/graph_codes.h"

namespace roofline {

namespace {

bool same_runs(
    const std::vector<KvSegment>& a,
    const std::vector<KvSegment>& b) {
  return std::equal(
      a.begin(),
      a.end(),
      b.begin(),
      b.end(),
      [](const KvSegment& one, const KvSegment& other) {
        return one.first_position == other.first_position &&
               one.first_slot == other.first_slot && one.count == other.count;
      });
}

/// The position that each slot holds; one that no query sees for the others.
mx::array slot_positions(const std::vector<KvSegment>& segments, int slots) {
  std::vector<std::int32_t> positions(
      slots,
      std::numeric_limits<std::int32_t>::max());
  for (const auto& run : segments) {
    for (int i = 0; i < run.count; ++i) {
      positions[run.first_slot + i] =
          static_cast<std::int32_t>(run.first_position) + i;
    }
  }
  return mx::array(positions.data(), {1, slots});
}

mx::array arange_positions(std::int64_t from, int count) {
  return mx::arange(
      static_cast<int>(from),
      static_cast<int>(from) + count,
      1,
      mx::int32);
}

mx::array seen_slots(
    const mx::array& held,
    std::int64_t position,
    int tokens,
    std::optional<int> window_tokens) {
  const auto queries =
      mx::reshape(arange_positions(position, tokens), {tokens, 1});
  auto seen = mx::less_equal(held, queries);
  if (window_tokens) {
    const auto oldest = mx::subtract(queries, mx::array(*window_tokens));
    seen = mx::logical_and(seen, mx::greater(held, oldest));
  }
  return seen;
}

/// Attention with a softcap, which MLX's fused op lacks. The query heads of a
/// key-value head become rows of one product.
mx::array attend_capped(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    const AttentionSpec& spec,
    const std::optional<mx::array>& seen) {
  const auto tokens = q.shape(2);
  const auto group = spec.heads / spec.kv_heads;
  const auto slots = k.shape(2);
  const auto type = q.dtype();
  const auto rows = mx::reshape(
      mx::multiply(q, mx::array(spec.scale, type)),
      {1, spec.kv_heads, group * tokens, spec.head_dim});
  const mx::array cap(*spec.softcap, type);
  auto scores = mx::matmul(rows, mx::transpose(k, {0, 1, 3, 2}));
  scores = mx::multiply(mx::tanh(mx::divide(scores, cap)), cap);
  scores = mx::reshape(scores, {1, spec.kv_heads, group, tokens, slots});
  if (seen) {
    const mx::array never(-std::numeric_limits<float>::infinity(), type);
    scores = mx::where(*seen, scores, never);
  }
  scores = mx::softmax(scores, -1, /* precise = */ true);
  scores = mx::reshape(scores, {1, spec.kv_heads, group * tokens, slots});
  return mx::reshape(
      mx::matmul(scores, v),
      {1, spec.heads, tokens, spec.head_dim});
}

}  // namespace

SlotMask make_slot_mask(
    const std::vector<KvSegment>& segments,
    std::int64_t position,
    int tokens,
    std::optional<int> window_tokens) {
  SlotMask mask;
  mask.position = position;
  if (segments.size() == 1) {
    const auto& run = segments[0];
    mask.first_slot = run.first_slot;
    mask.slots = run.count;
    const auto oldest_seen =
        window_tokens ? position + tokens - *window_tokens : 0;
    if (run.first_position >= oldest_seen) {
      mask.causal = tokens > 1;
      return mask;
    }
    const auto held = arange_positions(run.first_position, run.count);
    mask.seen = seen_slots(
        mx::reshape(held, {1, run.count}),
        position,
        tokens,
        window_tokens);
    return mask;
  }
  for (const auto& run : segments) {
    mask.slots = std::max(mask.slots, run.first_slot + run.count);
  }
  mask.seen = seen_slots(
      slot_positions(segments, mask.slots),
      position,
      tokens,
      window_tokens);
  return mask;
}

std::optional<mx::array> seen_of(const SlotMask& mask, int tokens) {
  if (!mask.causal) {
    return mask.seen;
  }
  // The slots end with the queries' own.
  return mx::tri(tokens, mask.slots, mask.slots - tokens, mx::bool_);
}

const SlotMask& SlotMasks::get(
    const std::vector<KvSegment>& segments,
    std::optional<int> window_tokens) {
  for (const auto& entry : entries_) {
    if (entry.window_tokens == window_tokens &&
        same_runs(entry.segments, segments)) {
      return entry.mask;
    }
  }
  entries_.push_back(
      {segments,
       window_tokens,
       make_slot_mask(segments, position_, tokens_, window_tokens)});
  return entries_.back().mask;
}

namespace {

/// Writes all slots of `fresh` into those of `held` from `slot` on; slots are
/// axis 2.
void put(mx::array& held, const mx::array& fresh, int slot) {
  const auto typed = mx::astype(fresh, held.dtype());
  if (fresh.shape(2) == held.shape(2)) {
    // MLX would hand the update itself back, whose heads are turned.
    held = mx::contiguous(typed);
    return;
  }
  held = mx::slice_update(
      held,
      typed,
      mx::Shape{0, 0, slot, 0},
      mx::Shape{1, fresh.shape(1), slot + fresh.shape(2), fresh.shape(3)});
}

mx::array tokens_of(const mx::array& x, int begin, int end) {
  if (begin == 0 && end == x.shape(2)) {
    return x;
  }
  return mx::slice(
      x,
      mx::Shape{0, 0, begin, 0},
      mx::Shape{1, x.shape(1), end, x.shape(3)});
}

/// Tokens [begin, end) of x, which lie in successive slots from `slot` on.
void write_run(
    KvStore& store,
    const mx::array& x,
    int begin,
    int end,
    int slot) {
  const int floats = store.in_codes() ? store.float_slots() : store.slots();
  const int full = std::clamp(floats - slot, 0, end - begin);
  if (full > 0) {
    put(store.floats(), tokens_of(x, begin, begin + full), slot);
  }
  if (begin + full == end) {
    return;
  }
  const auto fresh = to_codes(tokens_of(x, begin + full, end), store.shape());
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    put(store.codes()[i], fresh[i], slot + full - floats);
  }
}

/// Where `tokens` tokens go, the first at `position`.
std::vector<KvRun> runs_of(
    const KvCache& cache,
    int layer,
    int tokens,
    std::int64_t position) {
  std::vector<KvRun> runs;
  for (int t = 0; t < tokens; ++t) {
    const int slot = cache.slot_of(layer, position + t);
    if (!runs.empty() && runs.back().first_slot + runs.back().count == slot) {
      ++runs.back().count;
    } else {
      runs.push_back({t, slot, 1});
    }
  }
  return runs;
}

/// With the CPU's kernels: all that a layer keeps of a step by one op.
void write_in_place(
    KvCache& cache,
    int layer,
    const std::vector<CachedPart>& parts,
    std::vector<KvRun> runs) {
  KvOrder& order = cache.order(layer);
  std::vector<mx::array> after = std::exchange(order.read, {});
  if (order.written) {
    after.push_back(*order.written);
  }
  // Steps are evaluated one by one, as a rule: then it has nothing to wait for.
  std::erase_if(after, [](const mx::array& ran) { return ran.is_available(); });
  order.written = write_cached(parts, std::move(runs), after);
}

/// Writes x [1, heads, tokens, dims], of which each store keeps its own.
void write(
    KvCache& cache,
    int layer,
    const std::vector<std::pair<KvStore*, mx::array>>& fresh,
    std::int64_t position) {
  auto runs = runs_of(cache, layer, fresh[0].second.shape(2), position);
  bool in_place = false;
  for (const auto& [store, x] : fresh) {
    in_place = in_place || (store->in_codes() &&
                            store->shape().layout == KvLayout::kernels);
  }
  if (in_place) {
    std::vector<CachedPart> parts;
    for (const auto& [store, x] : fresh) {
      parts.push_back({x, store->arrays(), store->sizes()});
    }
    write_in_place(cache, layer, parts, std::move(runs));
    return;
  }
  for (const auto& [store, x] : fresh) {
    for (const KvRun& run : runs) {
      write_run(
          *store,
          x,
          run.first_token,
          run.first_token + run.count,
          run.first_slot);
    }
  }
}

}  // namespace

void store(
    KvCache& cache,
    int layer,
    const mx::array& k,
    const mx::array& v,
    std::int64_t position) {
  write(
      cache,
      layer,
      {{&cache.key_store(layer), k}, {&cache.value_store(layer), v}},
      position);
}

void store_latent(
    KvCache& cache,
    int layer,
    const mx::array& latents,
    std::int64_t position) {
  write(cache, layer, {{&cache.key_store(layer), latents}}, position);
}

mx::array attend(
    const mx::array& q,
    KvCache& cache,
    int layer,
    const AttentionSpec& spec,
    const SlotMask& mask,
    const std::optional<mx::array>& sinks,
    AttentionBy by) {
  const GraphQueries queries{
      q,
      mask.position,
      spec.scale,
      spec.window_tokens,
      spec.softcap,
      sinks};
  if (auto y = attend_in_place(queries, cache, layer, mask, by)) {
    return *y;
  }
  const auto seen_part = [&](KvStore& held) {
    return read_slots(held, mask.first_slot, mask.slots, q.dtype());
  };
  const auto k = seen_part(cache.key_store(layer));
  const auto v = seen_part(cache.value_store(layer));
  if (!spec.softcap) {
    return mx::fast::scaled_dot_product_attention(
        q,
        k,
        v,
        spec.scale,
        mask.causal ? "causal" : "",
        mask.seen,
        sinks);
  }
  return attend_capped(q, k, v, spec, seen_of(mask, q.shape(2)));
}

}  // namespace roofline
