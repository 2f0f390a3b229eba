// Guesses are checked many at a time: AttentionProducts::row_by_row.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/attention/plan.h"

namespace roofline {
namespace {

using testing::random_floats;

constexpr int kSlots = 900;
constexpr int kDim = 40;
constexpr int kThreads = 2;

struct Heads {
  int all = 0;
  int of_keys = 0;

  int width() const { return all * kDim; }
};

struct Cache {
  explicit Cache(const Heads& heads) {
    const auto size = static_cast<std::size_t>(heads.of_keys) * kSlots * kDim;
    keys = random_floats(size, 31);
    values = random_floats(size, 32);
    view.type = KvType::f32;
    view.keys = keys.data();
    view.values = values.data();
    view.kv_heads = heads.of_keys;
    view.head_dim = kDim;
    view.slots = kSlots;
  }

  std::vector<float> keys;
  std::vector<float> values;
  KvView view;
};

/// The outputs of `tokens` queries from position `first` on.
std::vector<float> outputs(
    const Heads& heads,
    const Cache& cache,
    const float* q,
    int first,
    int tokens,
    AttentionProducts products) {
  const std::vector<KvSegment> segments = {{0, 0, first + tokens}};
  std::vector<float> out(static_cast<std::size_t>(tokens * heads.width()));
  AttentionArgs args;
  args.q = q;
  args.q_stride = heads.width();
  args.out = out.data();
  args.out_stride = heads.width();
  args.tokens = tokens;
  args.heads = heads.all;
  args.first_position = first;
  args.scale = 0.3f;
  args.kv = cache.view;
  args.kv.segments = segments;
  AttentionPlan plan;
  plan.prepare({&args, 1}, kThreads, products);
  for (int piece = 0; piece < plan.pieces(); ++piece) {
    plan.run(piece, 0);
  }
  return out;
}

class AttentionRows : public testing::EveryIsa {
 protected:
  void expect_as_alone(const Heads& heads) {
    const Cache cache(heads);
    const auto q =
        random_floats(static_cast<std::size_t>(33 * heads.width()), 33, 2.0f);
    // Around the places where a row's keys are cut into more parts, and away
    // from them.
    for (const int first : {0, 61, 122, 185, 250, 377, 500, 764}) {
      for (const int tokens : {2, 5, 9, 33}) {
        const auto together = outputs(
            heads,
            cache,
            q.data(),
            first,
            tokens,
            AttentionProducts::row_by_row);
        std::vector<float> alone;
        for (int t = 0; t < tokens; ++t) {
          const auto row = outputs(
              heads,
              cache,
              q.data() + static_cast<std::ptrdiff_t>(t) * heads.width(),
              first + t,
              1,
              AttentionProducts::float32);
          alone.insert(alone.end(), row.begin(), row.end());
        }
        EXPECT_EQ(together, alone) << tokens << " tokens at " << first;
      }
    }
  }
};

TEST_P(AttentionRows, CheckedTogetherAreToTheBitWhatEachIsAlone) {
  expect_as_alone({6, 2});
  expect_as_alone({3, 3});
}

TEST_P(AttentionRows, SoAreThoseOfManyHeadsOverOneOfKeys) {
  expect_as_alone({24, 1});
}

INSTANTIATE_TEST_SUITE_P(
    Variants,
    AttentionRows,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

}  // namespace
}  // namespace roofline
