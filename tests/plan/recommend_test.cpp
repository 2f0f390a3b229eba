#include "roofline/plan/recommend.h"

#include <gtest/gtest.h>

namespace roofline {
namespace {

constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

RunPlan plan_of(double parameters, bool quick) {
  RunPlan plan;
  plan.parameters = parameters;
  plan.active_parameters = parameters;
  plan.quick_enough = quick;
  return plan;
}

TEST(RankRuns, QuickOnesComeFirstThenTheMostCapable) {
  const auto ranked =
      rank_runs({plan_of(1e9, true), plan_of(9e9, false), plan_of(2e9, true)});
  EXPECT_EQ(ranked[0].parameters, 2e9);
  EXPECT_EQ(ranked[1].parameters, 1e9);
  EXPECT_EQ(ranked[2].parameters, 9e9);
}

TEST(RunPlan, AMixtureRanksBetweenItsActiveAndAllParameters) {
  RunPlan plan = plan_of(16e9, true);
  plan.active_parameters = 4e9;
  EXPECT_DOUBLE_EQ(plan.capability(), 8e9);
}

TEST(CpuMemoryBudget, LeavesTheSystemTwoGibibytesOrAFifth) {
  EXPECT_EQ(cpu_memory_budget(4 * kGib), 2 * kGib);
  EXPECT_EQ(cpu_memory_budget(100 * kGib), 80 * kGib);
  EXPECT_EQ(cpu_memory_budget(kGib), 0u);
}

}  // namespace
}  // namespace roofline
