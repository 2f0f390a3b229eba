#include "roofline/kernels/round/round.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"

namespace roofline {
namespace {

constexpr float kScale = 0.03f;
constexpr float kBias = -0.2f;

TEST(Round, EveryVariantGivesTheNearestCodes) {
  for (const Isa isa : testing::runnable_isas()) {
    const RoundKernels* kernels = round_kernels(isa);
    if (kernels == nullptr) {
      continue;
    }
    for (int n = 0; n <= 70; ++n) {
      // One in front: misaligned.
      const auto all =
          testing::random_floats(static_cast<std::size_t>(n) + 1, 5);
      const float* values = all.data() + 1;
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(n) + 1, 99);
      kernels->codes(values, n, kBias, 1 / kScale, 15.0f, codes.data());
      float low = 0;
      float high = 0;
      kernels->range(values, n, low, high);
      double error = 0;
      for (int i = 0; i < n; ++i) {
        const float wanted = (values[i] - kBias) * (1 / kScale);
        const float code = std::nearbyint(std::clamp(wanted, 0.0f, 15.0f));
        ASSERT_EQ(codes[static_cast<std::size_t>(i)], static_cast<int>(code))
            << kernels->name << ", " << n << " values";
        ASSERT_LE(low, values[i]);
        ASSERT_GE(high, values[i]);
        const double miss =
            static_cast<double>(kScale * code + kBias) - values[i];
        error += 2 * miss * miss;
      }
      EXPECT_EQ(codes.back(), 99) << "nothing behind the end";
      if (n > 0) {
        EXPECT_EQ(low, *std::min_element(values, values + n));
        EXPECT_EQ(high, *std::max_element(values, values + n));
      }
      const std::vector<float> twice(static_cast<std::size_t>(n), 2.0f);
      EXPECT_NEAR(
          kernels->error(
              values,
              twice.data(),
              n,
              kScale,
              kBias,
              1 / kScale,
              15.0f),
          error,
          1e-5 * error + 1e-9);
    }
  }
}

TEST(Round, WhatIsNoNumberBecomesACode) {
  const float none = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> values = {none, 0.1f, none, -0.1f};
  for (const Isa isa : testing::runnable_isas()) {
    const RoundKernels* kernels = round_kernels(isa);
    if (kernels == nullptr) {
      continue;
    }
    std::uint8_t codes[4] = {9, 9, 9, 9};
    kernels->codes(values.data(), 4, kBias, 1 / kScale, 15.0f, codes);
    EXPECT_EQ(codes[0], 0);
    EXPECT_EQ(codes[1], 10);
    float low = 0;
    float high = 0;
    kernels->range(values.data(), 4, low, high);
    EXPECT_EQ(low, -0.1f);
    EXPECT_EQ(high, 0.1f);
  }
}

}  // namespace
}  // namespace roofline
