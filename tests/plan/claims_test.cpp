#include "roofline/plan/claims.h"

#include <gtest/gtest.h>

#include "plan/planned_llama.h"
#include "roofline/base/units.h"
#include "roofline/plan/chips.h"

namespace roofline {
namespace {

constexpr double kParameters = 6738415616.0;

Claim fits(int bits, double gib) {
  Claim claim;
  claim.kind = ClaimKind::fits;
  claim.bits = bits;
  claim.figure = gib;
  return claim;
}

Claim trains(TrainMethod method, double gib) {
  Claim claim = fits(16, gib);
  claim.kind = ClaimKind::trains;
  claim.method = method;
  return claim;
}

bool has(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

TEST(CheckClaim, SixteenBitsOfSevenBillionDoNotFitSixteenGigabytes) {
  const ClaimResult result = check_claim(fits(16, 16), llama());
  EXPECT_EQ(result.verdict, Verdict::fails);
  EXPECT_DOUBLE_EQ(
      result.allowed,
      static_cast<double>(gpu_working_set_limit(std::uint64_t{16} << 30)));
  EXPECT_GT(result.needed, 2 * kParameters);
  EXPECT_TRUE(has(result.difference, "more than")) << result.difference;
  EXPECT_TRUE(result.condition.empty());
}

TEST(CheckClaim, FourBitsFitEightGigabytesWithLessContext) {
  const ClaimResult result = check_claim(fits(4, 8), llama());
  EXPECT_EQ(result.verdict, Verdict::only_if);
  EXPECT_TRUE(has(result.condition, "context ≤ ")) << result.condition;
  EXPECT_TRUE(result.difference.empty());
  // The condition does hold: weights, and the tokens that it names.
  const double tokens =
      std::stod(result.condition.substr(std::string("context ≤ ").size()));
  const double weights = kParameters * 4.5 / 8;
  const double kv = tokens * 2 * 32 * 4096 * 2;
  EXPECT_LT(weights + kv, 8 * kGib * 2 / 3);
}

TEST(CheckClaim, TheVerdictFollowsTheMemory) {
  Verdict last = Verdict::fails;
  for (const double gib : {4.0, 8.0, 16.0, 64.0}) {
    const Verdict verdict = check_claim(fits(4, gib), llama()).verdict;
    EXPECT_LE(verdict, last) << gib;
    last = verdict;
  }
  EXPECT_EQ(last, Verdict::holds);
  EXPECT_EQ(check_claim(fits(4, 4), llama()).verdict, Verdict::fails);
}

TEST(CheckClaim, ASizeHoldsWithinATenth) {
  Claim claim;
  claim.kind = ClaimKind::size;
  claim.bits = 4;
  const double gigabytes = (kParameters * 4.5 / 8) / 1e9;
  claim.figure = gigabytes * 1.08;
  EXPECT_EQ(check_claim(claim, llama()).verdict, Verdict::holds);
  claim.figure = gigabytes / 1.2;
  const ClaimResult result = check_claim(claim, llama());
  EXPECT_EQ(result.verdict, Verdict::fails);
  EXPECT_NEAR(result.needed, kParameters * 4.5 / 8, 1e6);
  EXPECT_TRUE(has(result.difference, "+20 %")) << result.difference;
}

TEST(CheckClaim, AReductionCountsTheScales) {
  Claim claim;
  claim.kind = ClaimKind::reduction;
  claim.bits = 4;
  claim.figure = 75;
  const ClaimResult result = check_claim(claim, llama());
  // 4.5 of 16 bits; norms stay.
  EXPECT_NEAR(result.needed, 100 * (1 - 4.5 / 16), 0.01);
  EXPECT_EQ(result.verdict, Verdict::fails);
  EXPECT_TRUE(has(result.difference, "71.9 %")) << result.difference;
  claim.figure = 72;
  EXPECT_EQ(check_claim(claim, llama()).verdict, Verdict::holds);
}

TEST(CheckClaim, LoraOfSevenBillionNeedsMoreThanSixteenGigabytesLeave) {
  const ClaimResult result =
      check_claim(trains(TrainMethod::lora, 16), llama());
  EXPECT_EQ(result.verdict, Verdict::fails);
  // The frozen weights alone are above 2/3 of 16 GiB: nothing one gives up
  // helps.
  EXPECT_GT(2 * kParameters, result.allowed);
  EXPECT_GT(result.needed, 2 * kParameters);
  EXPECT_TRUE(has(result.difference, "weights alone")) << result.difference;
  EXPECT_TRUE(has(result.difference, "13.5 GB")) << result.difference;
}

TEST(CheckClaim, QloraHoldsOnlyWithCheckpointing) {
  const ClaimResult result =
      check_claim(trains(TrainMethod::qlora, 8), llama());
  EXPECT_EQ(result.verdict, Verdict::only_if);
  EXPECT_TRUE(has(result.condition, "with checkpointing")) << result.condition;
  EXPECT_GT(result.needed, result.allowed);
}

TEST(CheckClaim, TrainingHoldsWhereThereIsRoom) {
  const ClaimResult result =
      check_claim(trains(TrainMethod::lora, 64), llama());
  EXPECT_EQ(result.verdict, Verdict::holds);
  EXPECT_TRUE(result.condition.empty());
  EXPECT_LE(result.needed, result.allowed);
}

TEST(CheckClaim, WhatIsGivenUpLastIsNamedWithTheLeast) {
  const ClaimResult result =
      check_claim(trains(TrainMethod::full, 32), llama());
  EXPECT_EQ(result.verdict, Verdict::fails);
  EXPECT_TRUE(has(result.difference, "weights and gradients alone"))
      << result.difference;
}

TEST(Verdict, HasAName) {
  EXPECT_STREQ(name_of(Verdict::holds), "holds");
  EXPECT_STREQ(name_of(Verdict::only_if), "holds only if");
  EXPECT_STREQ(name_of(Verdict::fails), "does not hold");
}

}  // namespace
}  // namespace roofline
