// A plan that is prepared again and again, as the layers of a step do.
#include "roofline/kernels/attention/plan.h"

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using testing::random_floats;

constexpr int kHeads = 6;
constexpr int kKvHeads = 3;
constexpr int kDim = 64;
constexpr int kSlots = 700;
constexpr int kThreads = 2;

/// A call of one token over its own keys and values.
struct Call {
  explicit Call(unsigned seed, int keys = 500)
      : keys(random_floats(kKvHeads * kSlots * kDim, seed)),
        values(random_floats(kKvHeads * kSlots * kDim, seed + 1)),
        q(random_floats(kHeads * kDim, seed + 2)),
        out(q.size()),
        segments{{0, 0, keys}} {
    args.q = q.data();
    args.out = out.data();
    args.q_stride = args.out_stride = kHeads * kDim;
    args.tokens = 1;
    args.heads = kHeads;
    args.first_position = keys - 1;
    args.scale = 0.125f;
    args.kv.type = KvType::f32;
    args.kv.keys = this->keys.data();
    args.kv.values = this->values.data();
    args.kv.kv_heads = kKvHeads;
    args.kv.head_dim = kDim;
    args.kv.slots = kSlots;
    args.kv.segments = segments;
  }

  std::vector<float> run(AttentionPlan& plan, int threads = kThreads) {
    out.assign(out.size(), 0.0f);
    plan.prepare({&args, 1}, threads);
    for (int piece = plan.pieces(); piece-- > 0;) {
      plan.run(piece, piece % threads);
    }
    return out;
  }

  std::vector<float> keys;
  std::vector<float> values;
  std::vector<float> q;
  std::vector<float> out;
  std::vector<KvSegment> segments;
  AttentionArgs args;
};

TEST(AttentionPlan, CallsLikeTheOnesBeforeGiveWhatANewPlanGives) {
  AttentionPlan kept;
  for (unsigned layer = 0; layer < 4; ++layer) {
    Call call(10 * layer);
    AttentionPlan fresh;
    EXPECT_EQ(call.run(kept), call.run(fresh)) << layer;
  }
}

TEST(AttentionPlan, WhateverChangesIsCutAnew) {
  const std::vector<std::pair<std::string, std::function<void(Call&)>>> changes{
      {"a key more", [](Call& c) { c.segments[0].count += 1; }},
      {"another slot", [](Call& c) { c.segments[0].first_slot = 7; }},
      {"a segment more",
       [](Call& c) {
         c.segments = {{0, 100, 200}, {200, 300, 300}};
         c.args.kv.segments = c.segments;
       }},
      {"a window", [](Call& c) { c.args.window_tokens = 90; }},
      {"a cap", [](Call& c) { c.args.softcap = 2.0f; }},
      {"a position", [](Call& c) { c.args.first_position = 300; }},
      {"slots", [](Call& c) { c.args.kv.slots = 600; }},
      {"fewer heads", [](Call& c) {
         c.args.heads = 2;
         c.args.kv.kv_heads = 1;
       }}};
  for (const auto& [name, change] : changes) {
    SCOPED_TRACE(name);
    AttentionPlan kept;
    Call(1).run(kept);
    Call call(2);
    change(call);
    AttentionPlan fresh;
    EXPECT_EQ(call.run(kept), call.run(fresh));
    Call back(3);
    AttentionPlan other;
    EXPECT_EQ(back.run(kept), back.run(other));
  }
}

TEST(AttentionPlan, OtherThreadsAndInstructionSetsAreNoticed) {
  const Isa before = active_isa();
  AttentionPlan kept;
  Call call(5);
  for (const Isa isa : testing::runnable_isas()) {
    force_isa(isa);
    for (const int threads : {1, 2, 3}) {
      AttentionPlan fresh;
      EXPECT_EQ(call.run(kept, threads), call.run(fresh, threads))
          << isa_name(isa) << ", " << threads << " threads";
      EXPECT_EQ(kept.pieces(), fresh.pieces());
    }
  }
  force_isa(before);
}

TEST(AttentionPlan, AfterARefusedCallTheNextOneIsCutAnew) {
  AttentionPlan kept;
  Call call(6);
  const auto expected = call.run(kept);
  Call wrong(7);
  wrong.args.heads = 5;
  EXPECT_THROW(wrong.run(kept), BugError);
  EXPECT_EQ(call.run(kept), expected);
}

}  // namespace
}  // namespace roofline
