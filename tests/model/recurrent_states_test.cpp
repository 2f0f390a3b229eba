#include "roofline/model/recurrent_states.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "model/golden.h"
#include "roofline/base/errors.h"
#include "roofline/model/kv_cache.h"

namespace roofline {
namespace {

RecurrentSpec mamba() {
  RecurrentSpec spec;
  spec.heads = 2;
  spec.head_dim = 3;
  spec.key_heads = 1;
  spec.state_dim = 5;
  spec.conv_width = 4;
  spec.conv_channels = 16;
  return spec;
}

/// A recurrent layer, then one with attention.
ModelSpec hybrid() {
  ModelSpec spec;
  spec.layers.resize(2);
  spec.layers[0].attention.reset();
  spec.layers[0].recurrent = mamba();
  spec.layers[1].attention->heads = 2;
  spec.layers[1].attention->kv_heads = 2;
  spec.layers[1].attention->head_dim = 8;
  return spec;
}

/// Marks the state so that it can be told apart.
void mark(RecurrentStates& states, float value) {
  states.at(0).memory = mx::full({2, 3, 5}, value);
}

float mark_of(RecurrentStates& states) {
  return testing::to_host(states.at(0).memory)[0];
}

TEST(RecurrentStates, AreZeroAtTheStart) {
  RecurrentStates states(hybrid(), 2);
  for (const float value : testing::to_host(states.at(0).conv_inputs)) {
    EXPECT_EQ(value, 0.0f);
  }
  EXPECT_EQ(states.at(0).conv_inputs.shape(), (mx::Shape{3, 16}));
  EXPECT_EQ(states.at(0).memory.shape(), (mx::Shape{2, 3, 5}));
}

TEST(RecurrentStates, AreOfRecurrentLayersOnly) {
  RecurrentStates states(hybrid(), 2);
  EXPECT_FALSE(states.empty());
  EXPECT_THROW(states.at(1), BugError);
  ModelSpec plain = hybrid();
  plain.layers[0] = plain.layers[1];
  EXPECT_TRUE(RecurrentStates(plain, 2).empty());
}

TEST(RecurrentStates, GoBackToWhatWasKept) {
  RecurrentStates states(hybrid(), 2);
  mark(states, 1);
  states.keep(10);
  mark(states, 2);
  EXPECT_EQ(states.reachable(15, 20), 10);
  states.return_to(10, 20);
  EXPECT_EQ(mark_of(states), 1.0f);
  mark(states, 3);
  states.return_to(0, 12);
  EXPECT_EQ(mark_of(states), 0.0f);
  EXPECT_EQ(states.reachable(11, 12), 0);
}

TEST(RecurrentStates, StayWhereTheyAreWithoutOneKept) {
  RecurrentStates states(hybrid(), 2);
  mark(states, 4);
  EXPECT_EQ(states.reachable(7, 7), 7);
  EXPECT_EQ(states.reachable(6, 7), 0);
  states.return_to(7, 7);
  EXPECT_EQ(mark_of(states), 4.0f);
  EXPECT_THROW(states.return_to(6, 7), BugError);
}

TEST(RecurrentStates, KeepTheLatestAndSpreadTheRest) {
  RecurrentStates states(hybrid(), 3);
  for (const int position : {100, 110, 200, 300}) {
    states.keep(position);
  }
  // 110 had the closest neighbours of those before the last two.
  EXPECT_EQ(states.reachable(299, 400), 200);
  EXPECT_EQ(states.reachable(399, 400), 300);
  EXPECT_EQ(states.reachable(150, 400), 100);
  EXPECT_EQ(states.reachable(99, 400), 0);
}

TEST(RecurrentStates, AStepIsTakenBackWithoutLosingWhatIsKept) {
  RecurrentStates states(hybrid(), 3);
  for (const int position : {1000, 2000, 2016}) {
    states.keep(position);
  }
  for (int position = 2016; position < 2020; ++position) {
    mark(states, static_cast<float>(position));
    states.keep_for_a_step(position);
  }
  mark(states, 0);
  EXPECT_EQ(states.reachable(2019, 2020), 2019);
  states.return_to(2019, 2020);
  EXPECT_EQ(mark_of(states), 2019.0f);
  EXPECT_EQ(states.reachable(2018, 2019), 2016);
  EXPECT_EQ(states.reachable(2015, 2019), 2000);
}

TEST(RecurrentStates, CountTheirBytes) {
  const ModelSpec spec = hybrid();
  const std::size_t one = (3 * 16 + 2 * 3 * 5) * sizeof(float);
  EXPECT_EQ(state_bytes(spec), one);
  RecurrentStates states(spec, 2);
  EXPECT_EQ(states.bytes(), 0u);
  states.reserve();
  EXPECT_EQ(states.bytes(), one);
  states.keep(3);
  EXPECT_EQ(states.bytes(), 2 * one);
  for (const int position : {4, 5, 6}) {
    states.keep(position);
  }
  EXPECT_EQ(states.bytes(), 3 * one);
}

TEST(RecurrentStates, OfNoKeptOnesAreNeverReached) {
  RecurrentStates states(hybrid(), 0);
  states.keep(10);
  EXPECT_EQ(states.reachable(10, 20), 0);
}

TEST(KvCacheWithRecurrentLayers, ForgetsThemWithKeysAndValues) {
  const ModelSpec spec = hybrid();
  KvCache cache(spec, {});
  cache.reserve(5);
  EXPECT_EQ(cache.bytes(), KvCache::bytes_for(spec, {}, 5));
  EXPECT_FALSE(cache.can_truncate(4));
  EXPECT_THROW(cache.truncate(4), UserError);
  EXPECT_EQ(cache.position(), 5);
  cache.keep_state();
  cache.reserve(3);
  EXPECT_TRUE(cache.can_truncate(5));
  EXPECT_EQ(cache.reachable(7), 5);
  EXPECT_EQ(cache.reachable(4), 0);
  cache.truncate(cache.reachable(7));
  EXPECT_EQ(cache.position(), 5);
  cache.clear();
  EXPECT_EQ(cache.position(), 0);
}

}  // namespace
}  // namespace roofline
