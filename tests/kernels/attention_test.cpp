#include "roofline/kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/base/errors.h"
#include "roofline/kernels/attention/plan.h"
#include "roofline/kernels/attention/task.h"

namespace roofline {
namespace {

using testing::random_floats;

struct Case {
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 16;
  int tokens = 1;
  int first_position = 0;
  std::optional<int> window;
  std::optional<float> softcap;
  /// Slots of a ring that holds the latest positions; 0: position = slot.
  int ring = 0;
  /// Positions below this lie in slots of their own before the ring.
  int keep = 0;
};

std::string in_words(const Case& c) {
  return "heads " + std::to_string(c.heads) + "/" + std::to_string(c.kv_heads) +
         ", dim " + std::to_string(c.head_dim) + ", tokens " +
         std::to_string(c.tokens) + " at " + std::to_string(c.first_position) +
         ", window " + std::to_string(c.window.value_or(0)) + ", ring " +
         std::to_string(c.ring) + ", keep " + std::to_string(c.keep);
}

/// A cache with random content and the segments of a case.
struct Cache {
  Cache(const Case& c, KvType type) {
    const int length = c.first_position + c.tokens;
    slots = c.ring ? c.keep + c.ring : length;
    int first = 0;
    if (c.ring) {
      first = std::max(c.keep, length - c.ring);
      if (c.keep > 0) {
        segments.push_back({0, 0, std::min(c.keep, length)});
      }
    }
    for (int p = first; p < length;) {
      const int slot = c.ring ? c.keep + (p - c.keep) % c.ring : p;
      const int count = std::min(length - p, slots - slot);
      segments.push_back({p, slot, count});
      p += count;
    }
    const auto size = static_cast<std::size_t>(c.kv_heads) *
                      static_cast<std::size_t>(slots) *
                      static_cast<std::size_t>(c.head_dim);
    keys = random_floats(size, 21);
    values = random_floats(size, 22);
    view =
        {type, keys.data(), values.data(), c.kv_heads, c.head_dim, slots, {}};
    if (type == KvType::f16) {
      half_keys = halves(keys);
      half_values = halves(values);
      view.keys = half_keys.data();
      view.values = half_values.data();
    }
    view.segments = segments;
  }

  /// Rounds in place, so that the reference sees the same numbers.
  static std::vector<std::uint16_t> halves(std::vector<float>& floats) {
    std::vector<std::uint16_t> result;
    for (float& value : floats) {
      result.push_back(f32_to_f16(value));
      value = f16_to_f32(result.back());
    }
    return result;
  }

  int slots = 0;
  std::vector<float> keys;
  std::vector<float> values;
  std::vector<std::uint16_t> half_keys;
  std::vector<std::uint16_t> half_values;
  std::vector<KvSegment> segments;
  KvView view;
};

/// Attention by its definition, in double.
std::vector<double> reference(
    const Case& c,
    const Cache& cache,
    const float* q,
    float scale) {
  const auto dim = static_cast<std::size_t>(c.head_dim);
  const auto width = static_cast<std::size_t>(c.heads) * dim;
  std::vector<double> out(static_cast<std::size_t>(c.tokens) * width);
  const int group = c.heads / c.kv_heads;
  for (int t = 0; t < c.tokens; ++t) {
    for (int h = 0; h < c.heads; ++h) {
      const auto row = static_cast<std::size_t>(t) * width +
                       static_cast<std::size_t>(h) * dim;
      const std::int64_t query = c.first_position + t;
      std::vector<std::pair<double, const float*>> seen;
      for (const KvSegment& segment : cache.segments) {
        for (int i = 0; i < segment.count; ++i) {
          const std::int64_t p = segment.first_position + i;
          if (p > query || (c.window && p <= query - *c.window)) {
            continue;
          }
          const auto at =
              static_cast<std::size_t>(
                  h / group * cache.slots + segment.first_slot + i) *
              dim;
          double score = 0;
          for (std::size_t d = 0; d < dim; ++d) {
            score += double{q[row + d]} * cache.keys[at + d];
          }
          score *= scale;
          if (c.softcap) {
            score = *c.softcap * std::tanh(score / *c.softcap);
          }
          seen.emplace_back(score, cache.values.data() + at);
        }
      }
      double top = -1e300;
      for (const auto& [score, value] : seen) {
        top = std::max(top, score);
      }
      double total = 0;
      for (const auto& [score, value] : seen) {
        total += std::exp(score - top);
      }
      for (const auto& [score, value] : seen) {
        for (std::size_t d = 0; d < dim; ++d) {
          out[row + d] += std::exp(score - top) / total * value[d];
        }
      }
    }
  }
  return out;
}

class AttentionTest : public testing::EveryIsa {
 protected:
  void expect_reference(const Case& c, int threads) {
    for (const KvType type : {KvType::f16, KvType::f32}) {
      Cache cache(c, type);
      // Rows wider than the heads, as in a stacked qkv.
      const int width = c.heads * c.head_dim;
      const auto q =
          random_floats(static_cast<std::size_t>(c.tokens * width), 23, 2.0f);
      std::vector<float> out(q.size(), NAN);
      AttentionArgs args;
      args.q = q.data();
      args.q_stride = width;
      args.out = out.data();
      args.out_stride = width;
      args.tokens = c.tokens;
      args.heads = c.heads;
      args.first_position = c.first_position;
      args.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
      args.window_tokens = c.window;
      args.softcap = c.softcap;
      args.kv = cache.view;
      ThreadPool pool(threads);
      attend(args, pool);
      const auto expected = reference(c, cache, q.data(), args.scale);
      // A score has dim products of about 2·1, so an error of about
      // dim·2·2⁻²⁴·scale, which moves weights by as much; values are below 5.
      const double room = 5e-6 + 4e-7 * std::sqrt(c.head_dim) * 5;
      double worst = 0;
      for (std::size_t i = 0; i < out.size(); ++i) {
        const double error = std::abs(out[i] - expected[i]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
      }
      EXPECT_LT(worst, room)
          << in_words(c) << (type == KvType::f16 ? ", f16" : ", f32") << ", "
          << threads << " threads";
    }
  }
};

TEST_P(AttentionTest, TheForcedVariantRuns) {
  EXPECT_EQ(
      attention_kernels().name,
      testing::variant_name(
          GetParam(),
          attention_kernels(GetParam()) != nullptr));
}

TEST_P(AttentionTest, NoTokensIsNoWork) {
  Case c;
  c.tokens = 0;
  Cache cache(c, KvType::f16);
  AttentionArgs args;
  args.heads = c.heads;
  args.kv = cache.view;
  ThreadPool pool(2);
  EXPECT_NO_THROW(attend(args, pool));
}

TEST_P(AttentionTest, HeadsThatCannotBeGroupedAreABug) {
  Case c;
  Cache cache(c, KvType::f16);
  AttentionArgs args;
  args.heads = 5;
  args.tokens = 1;
  args.kv = cache.view;
  ThreadPool pool(1);
  EXPECT_THROW(attend(args, pool), BugError);
}

TEST_P(AttentionTest, EveryHeadSizeWorks) {
  for (const int dim : {8, 16, 20, 24, 32, 40, 64, 80, 96, 128, 256}) {
    for (const int tokens : {1, 2, 5, 33}) {
      Case c;
      c.head_dim = dim;
      c.tokens = tokens;
      c.first_position = 70;
      expect_reference(c, 2);
    }
  }
}

TEST_P(AttentionTest, EveryNumberOfKeysWorks) {
  for (int keys = 1; keys <= 35; ++keys) {
    Case c;
    c.first_position = keys - 1;
    expect_reference(c, 2);
  }
  for (const int keys : {63, 64, 65, 127, 128, 129, 500}) {
    Case c;
    c.first_position = keys - 1;
    expect_reference(c, 1);
    expect_reference(c, 4);
    c.tokens = 3;
    expect_reference(c, 4);
  }
}

TEST_P(AttentionTest, EveryNumberOfQueriesWorks) {
  for (int tokens = 1; tokens <= 20; ++tokens) {
    Case c;
    c.tokens = tokens;
    expect_reference(c, 2);
    c.first_position = 301;
    expect_reference(c, 4);
  }
  for (const int tokens : {64, 95, 130}) {
    Case c;
    c.tokens = tokens;
    expect_reference(c, 2);
  }
}

TEST_P(AttentionTest, EveryGroupingWorks) {
  for (const auto& [heads, kv_heads] :
       {std::pair{9, 3}, {8, 8}, {8, 1}, {1, 1}, {14, 2}, {100, 1}}) {
    for (const int tokens : {1, 4, 40}) {
      Case c;
      c.heads = heads;
      c.kv_heads = kv_heads;
      c.tokens = tokens;
      c.first_position = 150;
      expect_reference(c, 3);
    }
  }
}

TEST_P(AttentionTest, WindowsHideOlderKeys) {
  for (const int window : {1, 7, 64, 100}) {
    for (const int tokens : {1, 6, 90}) {
      Case c;
      c.window = window;
      c.tokens = tokens;
      c.first_position = 200;
      expect_reference(c, 2);
      c.first_position = 3;
      expect_reference(c, 2);
    }
  }
}

TEST_P(AttentionTest, SoftcapBendsTheScores) {
  for (const int tokens : {1, 30}) {
    Case c;
    c.softcap = 2.0f;
    c.tokens = tokens;
    c.first_position = 100;
    expect_reference(c, 2);
    c.window = 20;
    expect_reference(c, 2);
  }
}

TEST_P(AttentionTest, SlotsOfARingMayLieInAnyOrder) {
  for (const int position : {10, 90, 130, 255}) {
    for (const int tokens : {1, 5, 32}) {
      Case c;
      c.first_position = position;
      c.tokens = tokens;
      c.ring = 96;
      c.window = 64;
      expect_reference(c, 2);
      c.window.reset();
      c.keep = 4;
      expect_reference(c, 4);
    }
  }
}

TEST_P(AttentionTest, ManySplitsGiveTheSameAsOne) {
  Case c;
  c.heads = 9;
  c.kv_heads = 3;
  c.head_dim = 64;
  c.first_position = 2000;
  expect_reference(c, 1);
  expect_reference(c, 2);
  expect_reference(c, 8);
}

TEST(AttentionPlan, ThreadsGetAsManyPiecesOfFewHeads) {
  Case c;
  c.heads = 9;
  c.kv_heads = 3;
  c.head_dim = 64;
  c.first_position = 40 * kKeyTile - 1;  // which all of these cut evenly
  Cache cache(c, KvType::f16);
  AttentionArgs args;
  args.heads = c.heads;
  args.tokens = 1;
  args.first_position = c.first_position;
  args.kv = cache.view;
  for (int threads = 2; threads <= 7; ++threads) {
    AttentionPlan plan;
    plan.prepare({&args, 1}, threads);
    EXPECT_EQ(plan.pieces() % threads, 0) << threads << " threads";
  }
}

TEST_P(AttentionTest, HugeScoresDoNotOverflow) {
  Case c;
  c.first_position = 40;
  Cache cache(c, KvType::f32);
  for (float& key : cache.keys) {
    key *= 1e4f;
  }
  const auto q =
      random_floats(static_cast<std::size_t>(c.heads * c.head_dim), 24, 100.0f);
  std::vector<float> out(q.size());
  AttentionArgs args;
  args.q = q.data();
  args.q_stride = args.out_stride = c.heads * c.head_dim;
  args.out = out.data();
  args.tokens = 1;
  args.heads = c.heads;
  args.first_position = c.first_position;
  args.kv = cache.view;
  ThreadPool pool(2);
  attend(args, pool);
  const auto expected = reference(c, cache, q.data(), 1.0f);
  for (std::size_t i = 0; i < out.size(); ++i) {
    EXPECT_NEAR(out[i], expected[i], 1e-5);
  }
}

/// What products that may be rounded give; q: [tokens, heads·head_dim].
std::vector<float> attend_rounded(
    const Case& c,
    const Cache& cache,
    const std::vector<float>& q,
    int threads) {
  std::vector<float> out(q.size(), NAN);
  AttentionArgs args;
  args.q = q.data();
  args.q_stride = args.out_stride = c.heads * c.head_dim;
  args.out = out.data();
  args.tokens = c.tokens;
  args.heads = c.heads;
  args.first_position = c.first_position;
  args.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
  args.window_tokens = c.window;
  args.softcap = c.softcap;
  args.kv = cache.view;
  ThreadPool pool(threads);
  AttentionPlan plan;
  plan.prepare({&args, 1}, threads, AttentionProducts::bfloat16);
  auto piece = [&plan](int index, int worker) { plan.run(index, worker); };
  pool.run(plan.pieces(), piece);
  return out;
}

/// The largest error of rounded products against the reference on numbers that
/// are rounded to bfloat16, or as they are. growth: what a key's first dim,
/// which every query reads, gains from slot to slot.
enum class Reference { bfloat16, as_they_are };

double worst_rounded(
    const Case& c,
    int threads,
    float growth,
    Reference numbers) {
  const auto rounded = [](float x) { return bf16_to_f32(f32_to_bf16(x)); };
  Cache cache(c, KvType::f16);
  std::vector<float> q = random_floats(
      static_cast<std::size_t>(c.tokens * c.heads * c.head_dim),
      23,
      2.0f);
  for (std::size_t i = 0; i < cache.keys.size() && growth > 0;
       i += static_cast<std::size_t>(c.head_dim)) {
    const auto slot = static_cast<int>(i) / c.head_dim % cache.slots;
    cache.half_keys[i] = f32_to_f16(growth * static_cast<float>(slot));
    cache.keys[i] = f16_to_f32(cache.half_keys[i]);
  }
  for (std::size_t i = 0; i < q.size() && growth > 0;
       i += static_cast<std::size_t>(c.head_dim)) {
    q[i] = 2;
  }
  const std::vector<float> out = attend_rounded(c, cache, q, threads);
  const float scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
  if (numbers == Reference::bfloat16) {
    const float factor = scale * 1.44269504f;
    for (float& x : q) {
      x = rounded(x * factor) / factor;
    }
    for (auto* floats : {&cache.keys, &cache.values}) {
      std::transform(floats->begin(), floats->end(), floats->begin(), rounded);
    }
  }
  const auto expected = reference(c, cache, q.data(), scale);
  double worst = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double error = std::abs(out[i] - expected[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

double worst_in_bf16(const Case& c, int threads, float growth = 0) {
  return worst_rounded(c, threads, growth, Reference::bfloat16);
}

class AttentionInBfloat16 : public testing::EveryIsa {};

TEST_P(AttentionInBfloat16, RoundsOnlyWhatGoesIntoTheProducts) {
  if (bf16_rows() == nullptr) {
    EXPECT_NE(GetParam(), Isa::amx);
    GTEST_SKIP() << "there are no products of bfloat16";
  }
  // Weights are rounded too, by at most 2⁻⁹ of themselves: a mean of values
  // below 5 moves by at most 5·2⁻⁹, and the exponential adds 7.5e-5 of it.
  const double room = 5.0 / 512 + 5e-4;
  for (int tokens : {7, 9, 33, 40, 70}) {
    for (int head_dim : {32, 64, 96, 128}) {
      Case c;
      c.tokens = tokens;
      c.head_dim = head_dim;
      for (int first : {0, 1, 60, 200}) {
        c.first_position = first;
        EXPECT_LT(worst_in_bf16(c, 2), room) << in_words(c);
      }
      c.window = 17;
      EXPECT_LT(worst_in_bf16(c, 1), room) << in_words(c);
      c.ring = 90;
      EXPECT_LT(worst_in_bf16(c, 3), room) << in_words(c);
    }
  }
}

TEST_P(AttentionInBfloat16, ManyKeysAreMetBlockByBlock) {
  if (bf16_rows() == nullptr) {
    GTEST_SKIP() << "there are no products of bfloat16";
  }
  const double room = 5.0 / 512 + 5e-4;
  Case c;
  c.heads = 6;
  c.head_dim = 64;
  c.tokens = 66;
  for (int first : {189, 1100}) {
    c.first_position = first;
    EXPECT_LT(worst_in_bf16(c, 2), room) << in_words(c);
  }
  c.window = 300;
  c.ring = 500;
  c.keep = 10;
  EXPECT_LT(worst_in_bf16(c, 1), room) << in_words(c);
  // Enough rows for a task of several pairs of tiles.
  c = {};
  c.heads = 14;
  c.head_dim = 32;
  c.tokens = 150;
  c.first_position = 127;
  EXPECT_LT(worst_in_bf16(c, 1), room) << in_words(c);
}

TEST_P(AttentionInBfloat16, ScoresMayGrowFromBlockToBlock) {
  if (bf16_rows() == nullptr) {
    GTEST_SKIP() << "there are no products of bfloat16";
  }
  Case c;
  c.head_dim = 32;
  c.tokens = 20;
  c.first_position = 1000;
  // Later keys weigh more: sums so far shrink to nothing again and again.
  for (const float growth : {0.01f, 0.05f, 0.5f}) {
    EXPECT_LT(worst_in_bf16(c, 1, growth), 5.0 / 512 + 5e-4) << growth;
  }
}

class AttentionInIntegers : public testing::EveryIsa {};

TEST_P(AttentionInIntegers, RoundLessThanBfloat16) {
  if (attention_kernels().whole_rows == nullptr) {
    EXPECT_NE(GetParam(), Isa::avx2);
    GTEST_SKIP() << "there are no products of integers";
  }
  const auto expect_close = [](const Case& c, int threads, float growth = 0) {
    const double worst =
        worst_rounded(c, threads, growth, Reference::as_they_are);
    // A key's unit is in proportion to its largest dim.
    const double room = 3e-3 + 0.3 * double{growth};
    EXPECT_LT(worst, room) << in_words(c) << " growth " << growth;
    // Floats would be nearer: integers it was.
    EXPECT_GT(worst, 1e-5) << in_words(c);
  };
  for (int tokens : {9, 33, 40, 70}) {
    for (int head_dim : {8, 20, 64, 80, 128, 256}) {
      Case c;
      c.tokens = tokens;
      c.head_dim = head_dim;
      for (int first : {0, 1, 60, 200}) {
        c.first_position = first;
        expect_close(c, 2);
      }
      c.softcap = 3.0f;
      expect_close(c, 2);
      c.softcap.reset();
      c.window = 17;
      expect_close(c, 1);
      c.ring = 90;
      expect_close(c, 3);
    }
  }
  Case c;
  c.heads = 6;
  c.head_dim = 64;
  c.tokens = 70;
  c.first_position = 1100;
  expect_close(c, 2);
  // Later keys weigh more: sums so far shrink to nothing again and again.
  for (const float growth : {0.01f, 0.05f, 0.5f}) {
    expect_close(c, 1, growth);
  }
}

TEST_P(AttentionInIntegers, KeysThatWeighLittleKeepTheirPrecision) {
  if (attention_kernels().whole_rows == nullptr) {
    GTEST_SKIP() << "there are no products of integers";
  }
  Case c;
  c.head_dim = 64;
  c.tokens = 40;
  Cache cache(c, KvType::f16);
  const auto width = static_cast<std::size_t>(c.heads * c.head_dim);
  std::vector<float> q = random_floats(40 * width, 23);
  const auto set = [](std::vector<float>& floats,
                      std::vector<std::uint16_t>& halves,
                      std::size_t at,
                      float value) {
    halves[at] = f32_to_f16(value);
    floats[at] = f16_to_f32(halves[at]);
  };
  // The first key weighs most by far, and its value is next to nothing; only
  // the last token sees the last key, whose value is large.
  for (std::size_t i = 0; i < q.size(); i += 64) {
    q[i] = 4;
  }
  for (std::size_t i = 0; i < cache.keys.size(); ++i) {
    const std::size_t slot = i / 64 % 40;
    if (i % 64 == 0 || slot == 0) {
      set(cache.keys,
          cache.half_keys,
          i,
          i % 64 == 0 && slot == 0 ? 20.0f : 0.0f);
    }
    const float factor = slot == 0 ? 0.02f : slot == 39 ? 400.0f : 1.0f;
    set(cache.values, cache.half_values, i, factor * cache.values[i]);
  }
  const auto out = attend_rounded(c, cache, q, 1);
  const auto expected = reference(c, cache, q.data(), 0.125f);
  double worst = 0;
  for (std::size_t i = 0; i < 39 * width; ++i) {
    worst = std::max(worst, std::abs(out[i] - expected[i]));
  }
  EXPECT_LT(worst, 1e-4);
}

TEST_P(AttentionInIntegers, ScoresMayLieFarFromZero) {
  if (attention_kernels().whole_rows == nullptr) {
    GTEST_SKIP() << "there are no products of integers";
  }
  Case c;
  c.head_dim = 64;
  c.tokens = 20;
  c.first_position = 150;
  const std::size_t slots = 170;
  // A softmax doesn't change with what all scores have in common. Before the
  // 80th key and from there on that is a multiple of the first dim.
  for (const auto& [early, late] :
       {std::pair{-30.0f, -30.0f}, {30.0f, 30.0f}, {-30.0f, 30.0f}}) {
    Cache cache(c, KvType::f16);
    std::vector<float> q = random_floats(
        static_cast<std::size_t>(c.tokens * c.heads * c.head_dim),
        23);
    for (std::size_t i = 0; i < q.size(); i += 64) {
      q[i] = 40;
    }
    for (std::size_t i = 0; i < cache.keys.size(); i += 64) {
      cache.half_keys[i] = f32_to_f16(i / 64 % slots < 80 ? early : late);
      cache.keys[i] = f16_to_f32(cache.half_keys[i]);
    }
    const auto expected = reference(c, cache, q.data(), 0.125f);
    for (const int threads : {1, 4}) {
      const auto out = attend_rounded(c, cache, q, threads);
      double worst = 0;
      for (std::size_t i = 0; i < out.size(); ++i) {
        const double error = std::abs(out[i] - expected[i]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
      }
      // Keys' and queries' units are 30 and 40 / 5790.
      EXPECT_LT(worst, 0.04) << early << " then " << late;
    }
  }
}

TEST(AttentionProducts, OtherKindsOfCallsAreLeftToFloats) {
  AttentionArgs args;
  args.kv.head_dim = 64;
  EXPECT_TRUE(fits_bf16_rows(args));
  args.softcap = 30.0f;
  EXPECT_FALSE(fits_bf16_rows(args));
  args.softcap = {};
  args.kv.head_dim = 80;
  EXPECT_FALSE(fits_bf16_rows(args));
  args.kv.head_dim = 64;
  args.kv.type = KvType::f32;
  EXPECT_FALSE(fits_bf16_rows(args));
}

INSTANTIATE_TEST_SUITE_P(
    Variants,
    AttentionInIntegers,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

INSTANTIATE_TEST_SUITE_P(
    Variants,
    AttentionInBfloat16,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

INSTANTIATE_TEST_SUITE_P(
    Variants,
    AttentionTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

}  // namespace
}  // namespace roofline
