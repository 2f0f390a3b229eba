// Attention over codes in MLX's layout, as a GPU runs it, beside the kernels'
// and beside attention over floats: all on the CPU.
#include "roofline/model/graph_codes.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include "model/golden.h"

namespace roofline {
namespace {

using testing::max_error;
using testing::to_host;

struct Case {
  int key_bits = 8;
  int value_bits = 8;
  int group = 32;
  int keep_full = 0;
  int head_dim = 40;
  int chunk = 5;  ///< tokens of a step
  std::optional<int> window;
  std::optional<float> softcap;
  bool sinks = false;
};

ModelSpec spec_of(const Case& c) {
  ModelSpec spec;
  spec.layers.resize(1);
  AttentionSpec attention;
  attention.heads = 4;
  attention.kv_heads = 2;
  attention.head_dim = c.head_dim;
  attention.scale = 0.2f;
  attention.window_tokens = c.window;
  attention.softcap = c.softcap;
  attention.sinks = c.sinks;
  spec.layers[0].attention = attention;
  return spec;
}

/// The attention of 60 tokens that come in chunks.
std::vector<float> run(const Case& c, const KvFormat& format, KvLayout layout) {
  const auto spec = spec_of(c);
  const auto& attention = *spec.layers[0].attention;
  KvOptions options;
  options.max_chunk = c.chunk;
  options.dtype = mx::float32;
  options.format = format;
  options.layout = layout;
  KvCache cache(spec, options);
  const auto random = [](int heads, int dims, int seed) {
    return mx::random::normal(
        {1, heads, 60, dims},
        mx::float32,
        mx::random::key(static_cast<std::uint64_t>(seed)));
  };
  const auto q = random(4, c.head_dim, 1);
  const auto k = random(2, c.head_dim, 2);
  const auto v = random(2, c.head_dim, 3);
  std::optional<mx::array> sinks;
  if (c.sinks) {
    sinks = mx::array({0.5f, -1.0f, 2.0f, 0.0f});
  }
  std::vector<float> all;
  for (int begin = 0; begin < 60; begin += c.chunk) {
    const int count = std::min(c.chunk, 60 - begin);
    const auto part = [&](const mx::array& x) {
      return mx::slice(
          x,
          mx::Shape{0, 0, begin, 0},
          mx::Shape{1, x.shape(1), begin + count, x.shape(3)});
    };
    cache.reserve(count);
    store(cache, 0, part(k), part(v), begin);
    const auto mask = make_slot_mask(cache.segments(0), begin, count, c.window);
    const auto y = to_host(attend(part(q), cache, 0, attention, mask, sinks));
    all.insert(all.end(), y.begin(), y.end());
  }
  return all;
}

/// In standard deviations of the output. 8 bits move values by up to 1/510 of
/// a range of about five deviations, 4 bits by 1/30, and scores likewise.
double room(const Case& c) {
  const int bits = std::min(c.key_bits, c.value_bits);
  return bits == 4 ? 1.0 : 0.08;
}

void expect_near_floats(const Case& c) {
  KvFormat format;
  format.key_bits = c.key_bits;
  format.value_bits = c.value_bits;
  format.group_size = c.group;
  format.keep_full = c.keep_full;
  const auto floats = run(c, {}, KvLayout::kernels);
  for (const auto layout : {KvLayout::kernels, KvLayout::mlx}) {
    const double error = max_error(run(c, format, layout), floats);
    EXPECT_LT(error, room(c)) << (layout == KvLayout::mlx ? "mlx" : "kernels");
    EXPECT_GT(error, 1e-4);
  }
}

TEST(GraphCodes, EveryFormatWorksInBothLayouts) {
  for (const int key_bits : {16, 8, 4}) {
    for (const int value_bits : {8, 4}) {
      for (const int keep : {0, 3, 7}) {
        for (const int chunk : {1, 5, 20}) {
          Case c;
          c.key_bits = key_bits;
          c.value_bits = value_bits;
          c.keep_full = keep;
          c.chunk = chunk;
          expect_near_floats(c);
        }
      }
    }
  }
}

TEST(GraphCodes, WindowsSoftcapsAndSinksWorkInBothLayouts) {
  for (const int chunk : {1, 6, 25}) {
    Case c;
    c.chunk = chunk;
    c.head_dim = 64;
    c.group = 64;
    c.window = 12;
    c.keep_full = 4;
    expect_near_floats(c);
    c.softcap = 3.0f;
    expect_near_floats(c);
    c.window.reset();
    expect_near_floats(c);
    c.softcap.reset();
    c.sinks = true;
    expect_near_floats(c);
    c.window = 12;
    expect_near_floats(c);
  }
}

TEST(GraphCodes, ALatentWorksInBothLayouts) {
  ModelSpec spec;
  spec.layers.resize(1);
  AttentionSpec attention;
  attention.heads = 3;
  attention.kv_heads = 1;
  attention.head_dim = 48;
  attention.latent = LatentSpec{};
  attention.latent->kv_rank = 40;
  attention.latent->rope_dim = 8;
  spec.layers[0].attention = attention;
  const auto q = mx::random::normal({1, 3, 30, 48}, mx::random::key(5));
  const auto latents = mx::random::normal({1, 1, 30, 48}, mx::random::key(6));
  const auto run_layout =
      [&](const KvFormat& format, KvLayout layout, int chunk) {
        KvOptions options;
        options.max_chunk = chunk;
        options.dtype = mx::float32;
        options.format = format;
        options.layout = layout;
        KvCache cache(spec, options);
        std::vector<float> all;
        for (int begin = 0; begin < 30; begin += chunk) {
          const auto part = [&](const mx::array& x) {
            return mx::slice(
                x,
                mx::Shape{0, 0, begin, 0},
                mx::Shape{1, x.shape(1), begin + chunk, x.shape(3)});
          };
          cache.reserve(chunk);
          store_latent(cache, 0, part(latents), begin);
          const auto mask =
              make_slot_mask(cache.segments(0), begin, chunk, std::nullopt);
          const GraphQueries queries{part(q), begin, 0.15f, {}, {}, {}};
          const auto y =
              attend_in_place(queries, cache, 0, mask, AttentionBy::ops, 40);
          if (y) {
            const auto host = to_host(*y);
            all.insert(all.end(), host.begin(), host.end());
          }
        }
        return all;
      };
  KvFormat codes;
  codes.key_bits = codes.value_bits = 8;
  codes.group_size = 32;
  EXPECT_TRUE(run_layout({}, KvLayout::mlx, 5).empty());
  const auto kernels = run_layout(codes, KvLayout::kernels, 5);
  ASSERT_EQ(kernels.size(), 3u * 30 * 40);
  // Both round to 8 bits, each its own way.
  EXPECT_LT(max_error(run_layout(codes, KvLayout::mlx, 5), kernels), 0.08);
  codes.keep_full = 30;
  const auto floats = run_layout(codes, KvLayout::kernels, 5);
  EXPECT_LT(max_error(kernels, floats), 0.08);
  EXPECT_LT(max_error(run_layout(codes, KvLayout::mlx, 5), floats), 1e-4);
}

/// The attention of 80 tokens through a window of 32 in a ring of 32 slots, one
/// by one; the last two steps are computed when both stand in the graph, the
/// later one first.
std::vector<float> last_steps(bool late) {
  constexpr int kTokens = 80;
  constexpr int kWindow = 32;
  Case c;
  c.window = kWindow;
  const auto spec = spec_of(c);
  KvOptions options;
  options.max_chunk = 1;
  options.format = {8, 8, 32, 0};
  KvCache cache(spec, options);
  std::vector<mx::array> ys;
  for (int t = 0; t < kTokens; ++t) {
    const auto random = [&](int heads, int seed) {
      return mx::random::normal(
          {1, heads, 1, c.head_dim},
          mx::float32,
          mx::random::key(static_cast<std::uint64_t>(3 * t + seed)));
    };
    cache.reserve(1);
    store(cache, 0, random(2, 0), random(2, 1), t);
    const auto mask = make_slot_mask(cache.segments(0), t, 1, kWindow);
    ys.push_back(
        attend(random(4, 2), cache, 0, *spec.layers[0].attention, mask));
    if (!late || t + 2 < kTokens) {
      ys.back().eval();
    }
  }
  auto all = to_host(ys.back());
  const auto before = to_host(ys[kTokens - 2]);
  all.insert(all.end(), before.begin(), before.end());
  return all;
}

TEST(GraphCodes, AStepReadsItsOwnWindowThoughALaterOneIsComputedFirst) {
  EXPECT_EQ(last_steps(true), last_steps(false));
}

TEST(GraphCodes, BothLayoutsTakeTheBytesThatArePredicted) {
  Case c;
  const auto spec = spec_of(c);
  for (const auto layout : {KvLayout::kernels, KvLayout::mlx}) {
    for (const int keep : {0, 5, 300}) {
      KvOptions options;
      options.layout = layout;
      options.format = {8, 4, 32, keep};
      KvCache cache(spec, options);
      for (int i = 0; i < 4; ++i) {
        cache.reserve(200);
        EXPECT_EQ(
            cache.bytes(),
            KvCache::bytes_for(spec, options, cache.position()));
      }
    }
  }
}

}  // namespace
}  // namespace roofline
