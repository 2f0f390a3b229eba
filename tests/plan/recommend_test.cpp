#include "roofline/plan/recommend.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>
#include "roofline/base/units.h"

namespace roofline {
namespace {

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

TEST(CpuMemoryBudget, LeavesTheSystemTwoGibibytesOrAFifthAndNoMoreThanHalf) {
  EXPECT_EQ(cpu_memory_budget(4 * kGib), 2 * kGib);
  EXPECT_EQ(cpu_memory_budget(100 * kGib), 80 * kGib);
  EXPECT_EQ(cpu_memory_budget(kGib), kGib / 2);
}

/// Some 7 billion parameters: 13 GiB in 16 bits, 7 in 8, 4 in 4.
const PlannedModel& seven_billion() {
  static const PlannedModel model = plan_model("llama-2-7b");
  return model;
}

/// Without a GPU; decode of 1 GB takes 1/gigabytes_s seconds.
Hardware machine(double budget_gib, double gigabytes_s = 1000) {
  Hardware hardware;
  hardware.name = "a machine";
  hardware.budget_bytes = static_cast<std::uint64_t>(budget_gib * kGib);
  hardware.ram_bytes = hardware.budget_bytes;
  hardware.rates.bytes_per_second = gigabytes_s * 1e9;
  hardware.rates.operations_per_second = 1e15;
  return hardware;
}

RunWish context_of(std::int64_t tokens) {
  RunWish wish;
  wish.context_tokens = tokens;
  wish.least_context_tokens = 1024;
  wish.prompt_tokens = 512;
  return wish;
}

int bits_of(const std::optional<RunPlan>& plan) {
  return plan && plan->format ? plan->format->bits : 16;
}

TEST(PlanRun, TakesTheBestFormatThatFits) {
  const RunWish wish = context_of(2048);
  for (const auto& [gib, bits] : {std::pair{64, 16}, {12, 8}, {7, 4}}) {
    const auto plan = plan_run(seven_billion(), machine(gib), wish);
    ASSERT_TRUE(plan) << gib;
    EXPECT_EQ(bits_of(plan), bits) << gib;
    EXPECT_EQ(plan->question.context_tokens, 2048);
    EXPECT_LE(plan->memory.total(), machine(gib).budget_bytes);
    EXPECT_TRUE(plan->quick_enough);
  }
  EXPECT_FALSE(plan_run(seven_billion(), machine(2), wish));
}

TEST(PlanRun, TakesFewerBitsWhereMoreWouldBeTooSlow) {
  RunWish wish = context_of(2048);
  const auto bits = [&](double gigabytes_s) {
    return bits_of(plan_run(seven_billion(), machine(64, gigabytes_s), wish));
  };
  EXPECT_EQ(bits(400), 16);
  EXPECT_EQ(bits(100), 8);
  EXPECT_EQ(bits(55), 4);
  // None is quick: the quickest, and it says so.
  const auto slow = plan_run(seven_billion(), machine(64, 5), wish);
  ASSERT_TRUE(slow);
  EXPECT_EQ(bits_of(slow), 4);
  EXPECT_FALSE(slow->quick_enough);
  // Speed that isn't asked for costs no quality.
  wish.least_tokens_per_second = 0;
  EXPECT_EQ(bits_of(plan_run(seven_billion(), machine(64, 5), wish)), 16);
}

TEST(PlanRun, AnUnknownBandwidthSpeaksAgainstNothing) {
  Hardware hardware = machine(64);
  hardware.rates = {};
  const auto plan = plan_run(seven_billion(), hardware, context_of(2048));
  ASSERT_TRUE(plan);
  EXPECT_EQ(bits_of(plan), 16);
  EXPECT_TRUE(plan->quick_enough);
}

TEST(PlanRun, HalvesTheContextWhenNothingElseFitsButNotBelowTheLeast) {
  RunWish wish = context_of(4096);
  // A quarter of a GiB less than 4096 tokens need, whose cache alone takes 2
  // GiB.
  const auto fits =
      check_fit(seven_billion(), WeightFormat{4, 64}, machine(16), 4096);
  const double tight = static_cast<double>(fits.memory.total()) / kGib - 0.25;
  const auto shorter = plan_run(seven_billion(), machine(tight), wish);
  ASSERT_TRUE(shorter);
  EXPECT_EQ(bits_of(shorter), 4);
  EXPECT_EQ(shorter->question.context_tokens, 2048);
  wish.least_context_tokens = 4096;
  EXPECT_FALSE(plan_run(seven_billion(), machine(tight), wish));
}

TEST(PlanRun, AsksForNoMoreThanTheModelsOwnContext) {
  const auto plan =
      plan_run(seven_billion(), machine(256), context_of(1 << 20));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->question.context_tokens, 4096);
}

TEST(PlanRun, LeavesCodesAsTheyAreStored) {
  PlannedModel codes = quantized(seven_billion(), {4, 64});
  const auto plan = plan_run(codes, machine(64), context_of(2048));
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->format);
  EXPECT_EQ(plan->format_text(), "as stored");
}

TEST(PlanRun, CountsCopiesAndStreamsThatFitAtOnce) {
  const RunWish wish = context_of(2048);
  const auto one = plan_run(seven_billion(), machine(7), wish);
  const auto many = plan_run(seven_billion(), machine(80), wish);
  ASSERT_TRUE(one && many);
  EXPECT_EQ(one->copies, 1);
  EXPECT_GE(one->streams, 1);
  EXPECT_EQ(
      static_cast<std::uint64_t>(many->copies),
      machine(80).budget_bytes / many->memory.total());
  // Sequences share the weights.
  EXPECT_GT(many->streams, many->copies);
  EXPECT_GT(many->streams_tokens_per_second, many->speed.decode);
}

TEST(PlanRun, TellsTheSpeedupOnlyWhereTheCpuIsKnown) {
  Hardware hardware = machine(64, 400);
  EXPECT_FALSE(
      plan_run(seven_billion(), hardware, context_of(2048))->decode_speedup);
  hardware.cpu = hardware.rates;
  hardware.cpu->bytes_per_second /= 4;
  hardware.cpu->operations_per_second = 0;
  const auto plan = plan_run(seven_billion(), hardware, context_of(2048));
  ASSERT_TRUE(plan->decode_speedup);
  EXPECT_NEAR(*plan->decode_speedup, 4.0, 1e-9);
  EXPECT_FALSE(plan->prefill_speedup);
}

TEST(PlanRun, AMixtureDecodesWithItsActiveParameters) {
  const auto plan =
      plan_run(plan_model("qwen3-30b-a3b"), machine(128), context_of(2048));
  ASSERT_TRUE(plan);
  EXPECT_NEAR(plan->parameters, 30.5e9, 1e9);
  EXPECT_NEAR(plan->active_parameters, 3.3e9, 0.7e9);
}

TEST(CheckFit, TheLargestContextHoldsAndAStepMoreDoesNot) {
  const Hardware hardware = machine(5.5);
  const WeightFormat format{4, 64};
  const auto verdict = check_fit(seven_billion(), format, hardware, 1024);
  EXPECT_TRUE(verdict.holds());
  ASSERT_GT(verdict.largest_context, 1024);
  ASSERT_LT(verdict.largest_context, 4096);
  const auto at = [&](std::int64_t tokens) {
    return check_fit(seven_billion(), format, hardware, tokens).holds();
  };
  EXPECT_TRUE(at(verdict.largest_context));
  EXPECT_FALSE(at(verdict.largest_context + 256));
}

TEST(PlanTraining, UsesCheckpointingOnlyWhereItMust) {
  const auto roomy = plan_training(seven_billion(), machine(512));
  ASSERT_EQ(roomy.size(), 4u);
  for (const TrainPlan& plan : roomy) {
    EXPECT_TRUE(plan.fits);
    EXPECT_FALSE(plan.question.checkpointing);
    EXPECT_EQ(plan.question.batch, 8);
  }
  const auto tight = plan_training(seven_billion(), machine(8));
  EXPECT_FALSE(tight.front().fits);
  EXPECT_TRUE(tight.back().fits) << tight.back().memory.total();
  EXPECT_EQ(std::string(name_of(tight.back().question.method)), "qlora");
}

}  // namespace
}  // namespace roofline
