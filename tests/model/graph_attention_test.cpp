#include "roofline/model/graph_attention.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include <cmath>
#include <map>
#include <set>

#include "model/golden.h"

namespace roofline {
namespace {

using testing::max_error;
using testing::to_host;

constexpr int kKvHeads = 2, kHeadDim = 8;

AttentionSpec attention_of(
    int heads,
    std::optional<int> window,
    std::optional<float> softcap) {
  AttentionSpec spec;
  spec.heads = heads;
  spec.kv_heads = kKvHeads;
  spec.head_dim = kHeadDim;
  spec.scale = 0.4f;
  spec.window_tokens = window;
  spec.softcap = softcap;
  return spec;
}

/// The positions that each query of a step sees, by mask and cache.
std::vector<std::set<std::int64_t>> seen_positions(
    KvCache& cache,
    std::int64_t position,
    int tokens,
    std::optional<int> window) {
  const auto& segments = cache.segments(0);
  const auto mask = make_slot_mask(segments, position, tokens, window);
  std::map<int, std::int64_t> held;
  for (const auto& run : segments) {
    for (int i = 0; i < run.count; ++i) {
      held[run.first_slot + i] = run.first_position + i;
    }
  }
  std::vector<float> bits;
  if (mask.seen) {
    bits = to_host(mx::astype(*mask.seen, mx::float32));
  }
  std::vector<std::set<std::int64_t>> seen(tokens);
  for (int query = 0; query < tokens; ++query) {
    for (int i = 0; i < mask.slots; ++i) {
      const bool open = mask.seen     ? bits[query * mask.slots + i] != 0
                        : mask.causal ? i <= mask.slots - tokens + query
                                      : true;
      if (open) {
        seen[query].insert(held.at(mask.first_slot + i));
      }
    }
  }
  return seen;
}

TEST(SlotMask, ShowsExactlyTheWindowInAnyChunks) {
  for (const std::optional<int> window :
       {std::optional<int>(), std::optional<int>(6), std::optional<int>(1)}) {
    ModelSpec spec;
    spec.layers.resize(1);
    spec.layers[0].attention = attention_of(4, window, std::nullopt);
    KvOptions options;
    options.max_chunk = 9;
    KvCache cache(spec, options);
    for (int step = 0; step < 60; ++step) {
      const int tokens = 1 + step * 5 % 9;
      const auto position = cache.position();
      cache.reserve(tokens);
      const auto seen = seen_positions(cache, position, tokens, window);
      for (int query = 0; query < tokens; ++query) {
        const auto at = position + query;
        std::set<std::int64_t> expected;
        for (auto p = window ? std::max<std::int64_t>(0, at - *window + 1) : 0;
             p <= at;
             ++p) {
          expected.insert(p);
        }
        ASSERT_EQ(seen[query], expected) << "position " << at;
      }
    }
  }
}

TEST(SlotMask, OfARotatingCacheShowsTheFirstAndTheLatest) {
  ModelSpec spec;
  spec.layers.resize(1);
  spec.layers[0].attention = attention_of(4, std::nullopt, std::nullopt);
  KvOptions options;
  options.max_tokens = 12;
  options.keep_tokens = 3;
  options.max_chunk = 5;
  KvCache cache(spec, options);
  for (int step = 0; step < 80; ++step) {
    const int tokens = 1 + step * 3 % 5;
    const auto position = cache.position();
    cache.reserve(tokens);
    const auto seen = seen_positions(cache, position, tokens, std::nullopt);
    for (int query = 0; query < tokens; ++query) {
      const auto at = position + query;
      std::set<std::int64_t> expected;
      for (std::int64_t p = 0; p <= at; ++p) {
        // What the step's first query sees stays in sight of the others.
        if (p < 3 || p > position - 9) {
          expected.insert(p);
        }
      }
      ASSERT_EQ(seen[query], expected) << "position " << at;
    }
  }
}

/// Softmax attention by its definition, in double, over all positions so far.
std::vector<float> defined_attention(
    const std::vector<float>& q,
    const std::vector<std::vector<float>>& keys,
    const std::vector<std::vector<float>>& values,
    std::int64_t position,
    int tokens,
    const AttentionSpec& spec) {
  const int d = spec.head_dim;
  std::vector<float> out(q.size());
  for (int head = 0; head < spec.heads; ++head) {
    const int kv = head / (spec.heads / spec.kv_heads);
    for (int t = 0; t < tokens; ++t) {
      const auto* query = q.data() + (head * tokens + t) * d;
      const auto at = position + t;
      const auto first =
          spec.window_tokens
              ? std::max<std::int64_t>(0, at - *spec.window_tokens + 1)
              : 0;
      std::vector<double> sum(d);
      double total = 0;
      for (auto p = first; p <= at; ++p) {
        double score = 0;
        for (int i = 0; i < d; ++i) {
          score += double{query[i]} * keys[p][kv * d + i];
        }
        score *= spec.scale;
        if (spec.softcap) {
          score = *spec.softcap * std::tanh(score / *spec.softcap);
        }
        const double weight = std::exp(score);
        total += weight;
        for (int i = 0; i < d; ++i) {
          sum[i] += weight * values[p][kv * d + i];
        }
      }
      for (int i = 0; i < d; ++i) {
        out[(head * tokens + t) * d + i] = static_cast<float>(sum[i] / total);
      }
    }
  }
  return out;
}

/// Appends [1, kv_heads, tokens, head_dim] to rows of one position each.
void append_rows(const mx::array& x, std::vector<std::vector<float>>& rows) {
  const auto by_position = mx::transpose(x, {0, 2, 1, 3});
  for (auto& row : testing::rows_of<float>(
           mx::reshape(by_position, {x.shape(2), kKvHeads * kHeadDim}))) {
    rows.push_back(std::move(row));
  }
}

void expect_defined_attention(const AttentionSpec& attention, int max_chunk) {
  ModelSpec spec;
  spec.layers.resize(1);
  spec.layers[0].attention = attention;
  KvOptions options;
  options.max_chunk = max_chunk;
  options.dtype = mx::float32;
  KvCache cache(spec, options);
  std::vector<std::vector<float>> keys, values;
  for (int step = 0; step < 25; ++step) {
    const int tokens = 1 + step * 7 % max_chunk;
    const auto position = cache.position();
    const auto random = [&](int heads, int key) {
      return mx::random::normal(
          {1, heads, tokens, kHeadDim},
          mx::float32,
          0.0f,
          1.5f,
          mx::random::key(step * 3 + key));
    };
    const auto q = random(attention.heads, 0);
    const auto k = random(kKvHeads, 1);
    const auto v = random(kKvHeads, 2);
    append_rows(k, keys);
    append_rows(v, values);
    cache.reserve(tokens);
    store(cache, 0, k, v, position);
    const auto mask = make_slot_mask(
        cache.segments(0),
        position,
        tokens,
        attention.window_tokens);
    const auto out = to_host(attend(q, cache, 0, attention, mask));
    const auto expected = defined_attention(
        to_host(q),
        keys,
        values,
        position,
        tokens,
        attention);
    ASSERT_LT(max_error(out, expected), 1e-5) << "step " << step;
  }
}

TEST(GraphAttention, IsSoftmaxAttentionForAnyGroupingWindowAndSoftcap) {
  for (const int heads : {2, 4, 6}) {
    for (const auto window : {std::optional<int>(), std::optional<int>(10)}) {
      for (const auto cap : {std::optional<float>(), std::optional(1.3f)}) {
        for (const int max_chunk : {1, 6}) {
          SCOPED_TRACE(
              ::testing::Message()
              << heads << " heads, window " << window.value_or(0) << ", cap "
              << cap.value_or(0));
          expect_defined_attention(attention_of(heads, window, cap), max_chunk);
        }
      }
    }
  }
}

TEST(SlotMasks, LayersThatSeeTheSameShareOneMask) {
  const std::vector<KvSegment> one = {{0, 0, 4}, {9, 4, 3}};
  const std::vector<KvSegment> other = {{0, 0, 4}, {8, 4, 4}};
  SlotMasks masks(11, 1);
  const auto id = [&](const auto& segments, std::optional<int> window) {
    return masks.get(segments, window).seen->id();
  };
  const auto first = id(one, std::nullopt);
  EXPECT_EQ(id(one, std::nullopt), first);
  EXPECT_NE(id(other, std::nullopt), first);
  EXPECT_NE(id(one, 5), first);
}

}  // namespace
}  // namespace roofline
