#include "roofline/decode/vector_math.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "decode/reference.h"

namespace roofline {
namespace {

constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();

TEST(ExpNonpositive, AgreesWithTheLibrarysExponential) {
  for (float x = 0.0f; x > -86.9f; x -= 0.00731f) {
    const double exact = std::exp(static_cast<double>(x));
    EXPECT_NEAR(exp_nonpositive(x) / exact, 1.0, 3e-7) << x;
  }
}

TEST(ExpNonpositive, IsExactAtZeroAndZeroFarBelow) {
  EXPECT_EQ(exp_nonpositive(0.0f), 1.0f);
  EXPECT_EQ(exp_nonpositive(-88.0f), 0.0f);
  EXPECT_EQ(exp_nonpositive(-3e38f), 0.0f);
  EXPECT_EQ(exp_nonpositive(-kInfinity), 0.0f);
}

TEST(Argmax, GivesTheFirstOfEqualValuesAtEveryLength) {
  for (int n = 1; n < 70; ++n) {
    for (int at = 0; at < n; ++at) {
      std::vector<float> values(n, -1.0f);
      values[at] = 3.0f;
      values[n - 1] = 3.0f;
      EXPECT_EQ(argmax_of(values), static_cast<std::size_t>(at));
    }
  }
}

TEST(Argmax, WorksWhenAllButOneAreBanned) {
  std::vector<float> values(100, -kInfinity);
  values[77] = -1e30f;
  EXPECT_EQ(argmax_of(values), 77u);
}

TEST(FirstInvalid, FindsNanAndPlusInfinityAtEveryPlace) {
  for (const float bad : {kNotANumber, -kNotANumber, kInfinity}) {
    for (std::size_t at = 0; at < 50; ++at) {
      std::vector<float> values(50, 1.0f);
      values[3] = -kInfinity;
      values[at] = bad;
      EXPECT_EQ(first_invalid(values), at);
    }
  }
}

TEST(FirstInvalid, AcceptsMinusInfinityAndTheLargestNumbers) {
  const std::vector<float> values =
      {-kInfinity, 3.4e38f, -3.4e38f, 0.0f, -0.0f, 1e-45f};
  EXPECT_EQ(first_invalid(values), values.size());
}

TEST(ExpSum, AgreesWithASumInDouble) {
  for (const int n : {1, 15, 16, 17, 1023, 1025, 5000}) {
    const auto values = reference::random_logits(n, n, 5.0f);
    const float max = max_of(values);
    double exact = 0;
    for (const float value : values) {
      exact += std::exp(static_cast<double>(value) - max);
    }
    // 3e-7 for the exponential, 2⁻²⁴ for each of the 64 additions a lane.
    EXPECT_NEAR(exp_sum(values, max) / exact, 1.0, 3e-7 + 64 * 6e-8);
  }
}

}  // namespace
}  // namespace roofline
