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

TEST(UniformDraw, DependsOnSeedStepAndPurposeAndOnNothingElse) {
  const double first = uniform_draw(7, 3, DrawPurpose::token);
  uniform_draw(7, 4, DrawPurpose::token);
  EXPECT_EQ(uniform_draw(7, 3, DrawPurpose::token), first);
  EXPECT_NE(uniform_draw(8, 3, DrawPurpose::token), first);
  EXPECT_NE(uniform_draw(7, 4, DrawPurpose::token), first);
  EXPECT_NE(uniform_draw(7, 3, DrawPurpose::xtc), first);
}

TEST(UniformDraw, UsesTheHighHalvesOfSeedAndStep) {
  const double first = uniform_draw(1, 1, DrawPurpose::token);
  EXPECT_NE(uniform_draw(1 + (1ull << 32), 1, DrawPurpose::token), first);
  EXPECT_NE(uniform_draw(1, 1 + (1ull << 32), DrawPurpose::token), first);
}

TEST(UniformDraw, HasTheMeanAndSpreadOfTheUniformDistribution) {
  constexpr int n = 20000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double x = uniform_draw(42, i, DrawPurpose::token);
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

}  // namespace
}  // namespace roofline
