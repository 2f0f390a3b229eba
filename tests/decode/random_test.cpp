#include "roofline/decode/random.h"

#include <cmath>

#include <gtest/gtest.h>

namespace roofline {
namespace {

using Block = std::array<std::uint32_t, 4>;

// The known answers that the authors of the generator publish for
// Philox4x32-10.
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(
      philox({0, 0, 0, 0}, {0, 0}),
      (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(
      philox({ones, ones, ones, ones}, {ones, ones}),
      (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox(
          {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
          {0xa4093822, 0x299f31d0}),
      (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(XtcDraw, DependsOnSeedAndStepAndOnNothingElse) {
  const double first = xtc_draw(7, 3);
  xtc_draw(7, 4);
  EXPECT_EQ(xtc_draw(7, 3), first);
  EXPECT_NE(xtc_draw(8, 3), first);
  EXPECT_NE(xtc_draw(7, 4), first);
}

TEST(XtcDraw, UsesTheHighHalvesOfSeedAndStep) {
  const double first = xtc_draw(1, 1);
  EXPECT_NE(xtc_draw(1 + (1ull << 32), 1), first);
  EXPECT_NE(xtc_draw(1, 1 + (1ull << 32)), first);
}

TEST(XtcDraw, HasTheMeanAndSpreadOfTheUniformDistribution) {
  constexpr int n = 20000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double x = xtc_draw(42, i);
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
    sum += x;
    squares += x * x;
  }
  const double mean = sum / n;
  // Four standard errors of the mean and of the second moment.
  EXPECT_NEAR(mean, 0.5, 4 * 0.2887 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 4 * 0.2981 / std::sqrt(n));
}

TEST(TokenNoise, DependsOnSeedAndStepAndOnNothingElse) {
  const float first = token_noise(7, 3).of(11);
  EXPECT_EQ(token_noise(7, 3).of(11), first);
  EXPECT_NE(token_noise(8, 3).of(11), first);
  EXPECT_NE(token_noise(7, 4).of(11), first);
  EXPECT_NE(token_noise(7 + (1ull << 32), 3).of(11), first);
  EXPECT_NE(token_noise(7, 3 + (1ull << 32)).of(11), first);
  EXPECT_NE(token_noise(7, 3).of(12), first);
}

}  // namespace
}  // namespace roofline
