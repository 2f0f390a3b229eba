#include "roofline/base/statistics.h"

#include <gtest/gtest.h>

namespace roofline {
namespace {

using Samples = std::vector<double>;

TEST(Statistics, TheMedianOfAnEvenNumberLiesBetweenTheMiddleTwo) {
  EXPECT_DOUBLE_EQ(median_of(Samples{4, 1, 3, 2}), 2.5);
  EXPECT_DOUBLE_EQ(median_of(Samples{5, 1, 3}), 3);
  EXPECT_DOUBLE_EQ(median_of({}), 0);
}

TEST(Statistics, AQuantileIsInterpolated) {
  EXPECT_DOUBLE_EQ(quantile_of(Samples{0, 10}, 0.95), 9.5);
  EXPECT_DOUBLE_EQ(quantile_of(Samples{7}, 0.95), 7);
}

TEST(Statistics, OneOutlierDoesNotMoveTheSpread) {
  EXPECT_DOUBLE_EQ(relative_spread(Samples{99, 100, 100, 101, 500}), 0.01);
}

TEST(Statistics, AClearChangeLiesOutsideItsInterval) {
  const Samples before = {100, 101, 99, 100, 102};
  const Samples after = {80, 81, 79, 80, 82};
  const auto ratio = ratio_of_medians(before, after);
  EXPECT_DOUBLE_EQ(ratio.ratio, 0.8);
  EXPECT_LT(ratio.high, 0.85);
  EXPECT_GT(ratio.low, 0.75);
}

TEST(Statistics, NoiseIsNotAChange) {
  const Samples before = {100, 90, 110, 95, 105};
  const Samples after = {98, 108, 92, 103, 97};
  const auto ratio = ratio_of_medians(before, after);
  EXPECT_LT(ratio.low, 1);
  EXPECT_GT(ratio.high, 1);
}

TEST(Statistics, NothingComparedIsZero) {
  EXPECT_DOUBLE_EQ(ratio_of_medians({}, Samples{1}).ratio, 0);
  EXPECT_DOUBLE_EQ(ratio_of_medians(Samples{1}, {}).ratio, 0);
}

}  // namespace
}  // namespace roofline
