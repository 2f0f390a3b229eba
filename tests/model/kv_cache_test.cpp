#include "roofline/model/kv_cache.h"

#include <gtest/gtest.h>
#include <mlx/memory.h>
#include <mlx/ops.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <set>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

ModelSpec spec_of(std::vector<std::optional<int>> windows) {
  ModelSpec spec;
  for (const auto window : windows) {
    LayerSpec layer;
    layer.attention->heads = 4;
    layer.attention->kv_heads = 2;
    layer.attention->head_dim = 8;
    layer.attention->window_tokens = window;
    spec.layers.push_back(layer);
  }
  return spec;
}

KvOptions options_of(std::optional<int> max_tokens, int max_chunk) {
  KvOptions options;
  options.max_tokens = max_tokens;
  options.max_chunk = max_chunk;
  return options;
}

/// The positions that a layer lists, in order.
std::vector<std::int64_t> positions(const KvCache& cache, int layer) {
  std::vector<std::int64_t> found;
  for (const auto& run : cache.segments(layer)) {
    for (int i = 0; i < run.count; ++i) {
      EXPECT_EQ(
          cache.slot_of(layer, run.first_position + i),
          run.first_slot + i);
      found.push_back(run.first_position + i);
    }
  }
  return found;
}

std::vector<std::int64_t> range(std::int64_t from, std::int64_t to) {
  std::vector<std::int64_t> values;
  for (auto each = from; each < to; ++each) {
    values.push_back(each);
  }
  return values;
}

/// Writes each position's number as its key and value, as a CPU step would.
void fill(KvCache& cache, int layer, std::int64_t from) {
  const auto view = cache.view(layer);
  for (auto p = from; p < cache.position(); ++p) {
    for (int head = 0; head < view.kv_heads; ++head) {
      const auto at = (static_cast<std::int64_t>(head) * view.slots +
                       cache.slot_of(layer, p)) *
                      view.head_dim;
      for (int i = 0; i < view.head_dim; ++i) {
        static_cast<float*>(view.keys)[at + i] = static_cast<float>(p);
        static_cast<float*>(view.values)[at + i] = static_cast<float>(-p);
      }
    }
  }
}

void expect_filled(KvCache& cache, int layer) {
  const auto view = cache.view(layer);
  for (const auto& run : view.segments) {
    for (int i = 0; i < run.count; ++i) {
      for (int head = 0; head < view.kv_heads; ++head) {
        const auto at = (static_cast<std::int64_t>(head) * view.slots +
                         run.first_slot + i) *
                        view.head_dim;
        const auto expected = static_cast<float>(run.first_position + i);
        ASSERT_EQ(static_cast<float*>(view.keys)[at], expected);
        ASSERT_EQ(static_cast<float*>(view.values)[at + 7], -expected);
      }
    }
  }
}

TEST(KvCache, AFullLayerListsAllPositionsInOneRun) {
  KvCache cache(spec_of({std::nullopt}), options_of(std::nullopt, 512));
  cache.reserve(300);
  cache.reserve(1);
  ASSERT_EQ(cache.segments(0).size(), 1u);
  EXPECT_EQ(positions(cache, 0), range(0, 301));
}

TEST(KvCache, GrowthKeepsWhatWasWritten) {
  KvOptions options = options_of(std::nullopt, 100);
  options.dtype = mx::float32;
  KvCache cache(spec_of({std::nullopt, 40}), options);
  for (int step = 0; step < 30; ++step) {
    const auto from = cache.position();
    cache.reserve(step % 3 == 0 ? 100 : 37);
    for (const int layer : {0, 1}) {
      fill(cache, layer, from);
      expect_filled(cache, layer);
    }
  }
  EXPECT_EQ(cache.position(), 10 * 100 + 20 * 37);
}

TEST(KvCache, ArraysWrittenInPlaceBeginOnCacheLinesAndStayApart) {
  ModelSpec spec = spec_of({std::nullopt, std::nullopt, 40});
  for (auto& layer : spec.layers) {
    layer.attention->head_dim = 50;
  }
  KvOptions options = options_of(std::nullopt, 512);
  options.in_place = true;
  KvCache cache(spec, options);
  std::size_t more_than_a_block = 0;
  while (more_than_a_block < (std::size_t{40} << 20)) {
    cache.reserve(512);
    std::map<std::uintptr_t, std::uintptr_t> ends;
    for (int layer = 0; layer < 3; ++layer) {
      const auto view = cache.view(layer);
      const std::size_t bytes = std::size_t{2} * 2 * 50 * view.slots;
      for (const void* data : {view.keys, view.values}) {
        const auto begin = reinterpret_cast<std::uintptr_t>(data);
        EXPECT_EQ(begin % 64, 0u);
        ends[begin] = begin + bytes;
      }
    }
    ASSERT_EQ(ends.size(), 6u);
    for (auto each = ends.begin(); std::next(each) != ends.end(); ++each) {
      ASSERT_LE(each->second, std::next(each)->first);
    }
    more_than_a_block = cache.bytes();
  }
}

TEST(KvCache, ArraysWrittenInPlaceAreMadeWhereTheyStay) {
  ModelSpec spec = spec_of({std::nullopt, std::nullopt, std::nullopt});
  for (auto& layer : spec.layers) {
    layer.attention->head_dim = 1024;
  }
  KvOptions options = options_of(std::nullopt, 512);
  options.in_place = true;
  KvCache cache(spec, options);
  const auto before = mx::get_active_memory();
  mx::reset_peak_memory();
  cache.reserve(512);
  cache.view(0);
  // Besides, a block is rounded up to large pages and aligned to one.
  constexpr std::size_t kRoom = std::size_t{5} << 20;
  EXPECT_GT(cache.bytes(), 2 * kRoom);
  EXPECT_LE(mx::get_peak_memory() - before, cache.bytes() + kRoom);
}

TEST(KvCache, GrowsInStepsAndNotByMoreThanAQuarter) {
  const auto spec = spec_of({std::nullopt});
  KvCache cache(spec, options_of(std::nullopt, 512));
  const std::size_t slot_bytes = 2 * 2 * 8 * 2;
  std::set<std::size_t> sizes;
  for (int i = 0; i < 40; ++i) {
    cache.reserve(512);
    const auto needed = static_cast<std::size_t>(cache.position()) * slot_bytes;
    EXPECT_GE(cache.bytes(), needed);
    EXPECT_LE(cache.bytes(), needed * 5 / 4 + 256 * slot_bytes);
    EXPECT_EQ(cache.bytes() % (256 * slot_bytes), 0u);
    sizes.insert(cache.bytes());
  }
  EXPECT_LT(sizes.size(), 20u);
}

TEST(KvCache, AWindowedLayerHoldsWhatTheFirstQueryOfAStepSees) {
  KvCache cache(spec_of({10}), options_of(std::nullopt, 7));
  std::int64_t position = 0;
  for (int step = 0; step < 200; ++step) {
    const int tokens = 1 + step % 7;
    cache.reserve(tokens);
    const auto oldest = std::max<std::int64_t>(0, position - 9);
    position += tokens;
    ASSERT_EQ(positions(cache, 0), range(oldest, position)) << "step " << step;
    ASSERT_LE(cache.segments(0).size(), 3u);
  }
}

TEST(KvCache, ARotatingLayerKeepsTheFirstAndTheLatest) {
  KvCache cache(spec_of({std::nullopt}), options_of(16, 5));
  std::int64_t position = 0;
  for (int step = 0; step < 100; ++step) {
    const int tokens = 1 + step % 5;
    cache.reserve(tokens);
    auto expected = range(0, std::min<std::int64_t>(4, position + tokens));
    const auto latest =
        range(std::max<std::int64_t>(4, position - 11), position + tokens);
    expected.insert(expected.end(), latest.begin(), latest.end());
    position += tokens;
    ASSERT_EQ(positions(cache, 0), expected) << "step " << step;
    ASSERT_LE(cache.segments(0).size(), 3u);
  }
}

TEST(KvCache, ASingleTokenSeesExactlyMaxTokensPositions) {
  KvCache cache(spec_of({std::nullopt}), options_of(16, 64));
  cache.reserve(40);
  for (int i = 0; i < 50; ++i) {
    cache.reserve(1);
    ASSERT_EQ(positions(cache, 0).size(), 16u);
  }
}

TEST(KvCache, AWindowWiderThanTheBoundIsBounded) {
  KvCache cache(spec_of({100}), options_of(16, 8));
  for (int i = 0; i < 50; ++i) {
    cache.reserve(8);
  }
  EXPECT_EQ(positions(cache, 0).size(), 16u + 7u);
}

TEST(KvCache, TenThousandTokensDoNotGrowARotatingCache) {
  KvCache cache(spec_of({std::nullopt, 64}), options_of(512, 128));
  cache.reserve(100);
  cache.view(0);
  const auto bytes = cache.bytes();
  const auto active = mx::get_active_memory();
  for (int i = 0; i < 10000; ++i) {
    cache.reserve(1);
    cache.view(0);
  }
  EXPECT_EQ(cache.bytes(), bytes);
  EXPECT_EQ(mx::get_active_memory(), active);
}

TEST(KvCache, MlxCountsItsMemory) {
  const auto before = mx::get_active_memory();
  KvCache cache(spec_of({std::nullopt}), options_of(std::nullopt, 512));
  cache.reserve(512);
  cache.view(0);
  EXPECT_GE(mx::get_active_memory(), before + cache.bytes());
}

TEST(KvCache, TruncateForgetsTheEnd) {
  KvCache cache(spec_of({std::nullopt}), options_of(std::nullopt, 512));
  cache.reserve(300);
  cache.truncate(120);
  EXPECT_EQ(cache.position(), 120);
  cache.reserve(3);
  EXPECT_EQ(positions(cache, 0), range(0, 123));
}

TEST(KvCache, TruncateOfAnOverwrittenWindowIsAnErrorAndChangesNothing) {
  KvCache cache(spec_of({std::nullopt, 8}), options_of(std::nullopt, 4));
  for (int i = 0; i < 50; ++i) {
    cache.reserve(4);
  }
  EXPECT_FALSE(cache.can_truncate(20));
  EXPECT_THROW(cache.truncate(20), UserError);
  EXPECT_EQ(cache.position(), 200);
  EXPECT_TRUE(cache.can_truncate(199));
  EXPECT_TRUE(cache.can_truncate(0));
}

/// After any truncate that is allowed, every listed position must hold its own
/// number: a slot that was reused in between would show.
TEST(KvCache, TruncateNeverLeadsToASlotThatWasReused) {
  KvOptions options = options_of(40, 6);
  options.dtype = mx::float32;
  KvCache cache(spec_of({std::nullopt, 12, 70}), options);
  unsigned random = 1;
  const auto next = [&](unsigned below) {
    random = random * 1664525u + 1013904223u;
    return (random >> 8) % below;
  };
  int truncated = 0;
  for (int step = 0; step < 3000; ++step) {
    if (next(3) == 0) {
      const auto back = std::min<std::int64_t>(next(40), cache.position());
      const auto to = cache.position() - back;
      if (cache.can_truncate(to)) {
        cache.truncate(to);
        truncated += back > 0;
      }
    }
    const auto from = cache.position();
    cache.reserve(static_cast<int>(1 + next(6)));
    for (int layer = 0; layer < 3; ++layer) {
      fill(cache, layer, from);
      expect_filled(cache, layer);
      ASSERT_FALSE(HasFatalFailure()) << "step " << step;
    }
  }
  EXPECT_GT(truncated, 100);
}

TEST(KvCache, ClearStartsAgainInTheSameMemory) {
  KvCache cache(spec_of({std::nullopt, 8}), options_of(std::nullopt, 64));
  for (int i = 0; i < 20; ++i) {
    cache.reserve(64);
  }
  const auto bytes = cache.bytes();
  cache.clear();
  EXPECT_EQ(cache.position(), 0);
  cache.reserve(64);
  EXPECT_EQ(cache.bytes(), bytes);
  EXPECT_EQ(positions(cache, 0), range(0, 64));
  EXPECT_EQ(positions(cache, 1), range(0, 64));
}

TEST(KvCache, AStepLongerThanMaxChunkIsABug) {
  KvCache cache(spec_of({8}), options_of(std::nullopt, 4));
  EXPECT_THROW(cache.reserve(5), BugError);
  EXPECT_EQ(cache.position(), 0);
}

TEST(KvCache, ABoundThatLeavesNoRoomIsAnError) {
  EXPECT_THROW(KvCache(spec_of({8}), options_of(4, 4)), UserError);
  EXPECT_THROW(KvCache(spec_of({8}), options_of(-1, 4)), UserError);
  EXPECT_NO_THROW(KvCache(spec_of({8}), options_of(5, 4)));
}

TEST(KvCache, BytesAreForetold) {
  const auto spec = spec_of({std::nullopt, 100, 3000});
  for (const auto max_tokens :
       {std::optional<int>(), std::optional<int>(600)}) {
    const auto options = options_of(max_tokens, 1);
    KvCache cache(spec, options);
    for (int tokens = 1; tokens <= 3000; ++tokens) {
      cache.reserve(1);
      if (tokens % 293 == 0 || tokens == 3000) {
        EXPECT_EQ(KvCache::bytes_for(spec, options, tokens), cache.bytes())
            << tokens;
      }
    }
  }
}

}  // namespace
}  // namespace roofline
