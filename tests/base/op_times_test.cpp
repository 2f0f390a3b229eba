#include "roofline/base/op_times.h"

#include <gtest/gtest.h>

namespace roofline {
namespace {

TEST(OpTimes, LapsAddUpByOperation) {
  OpTimes times;
  times.begin();
  times.lap(StepOp::qkv, 100);
  times.lap(StepOp::head, 5);
  times.lap(StepOp::qkv, 20);
  const auto at = [&](StepOp op) {
    return times.totals()[static_cast<std::size_t>(op)];
  };
  EXPECT_EQ(at(StepOp::qkv).bytes, 120u);
  EXPECT_EQ(at(StepOp::head).bytes, 5u);
  EXPECT_EQ(at(StepOp::norm).seconds, 0);
  times.clear();
  EXPECT_EQ(at(StepOp::qkv).bytes, 0u);
}

TEST(OpTimes, KeepsNoMoreLapsThanAskedFor) {
  OpTimes times;
  times.begin();
  times.lap(StepOp::norm, 0);
  EXPECT_TRUE(times.laps().empty());
  times.keep_laps(2);
  for (int i = 0; i < 1000; ++i) {
    times.lap(StepOp::rope, 0);
  }
  ASSERT_GE(times.laps().size(), 2u);
  EXPECT_LT(times.laps().size(), 1000u);
  EXPECT_LE(times.laps()[0].end, times.laps()[1].begin);
}

TEST(OpTimes, NothingIsCollectedUnlessAskedFor) {
  EXPECT_EQ(OpTimes::active(), nullptr);
  OpTimes times;
  OpTimes::collect(&times);
  EXPECT_EQ(OpTimes::active(), &times);
  OpTimes::collect(nullptr);
  EXPECT_EQ(OpTimes::active(), nullptr);
}

}  // namespace
}  // namespace roofline
