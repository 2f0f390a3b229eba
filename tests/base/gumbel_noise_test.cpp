#include "roofline/base/gumbel_noise.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace roofline {
namespace {

/// How far the sorted values' shares are from Gumbel's distribution, at most
/// (Kolmogorov and Smirnov's distance).
double distance(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double most = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double share = std::exp(-std::exp(-values[i]));
    const auto below = static_cast<double>(i);
    most = std::max(most, std::abs(share - below / n));
    most = std::max(most, std::abs(share - (below + 1) / n));
  }
  return most;
}

/// Passed by chance once in 10^7.
double far_for(std::size_t count) {
  return 2.9 / std::sqrt(static_cast<double>(count));
}

TEST(GumbelNoise, IsDistributedAsGumbelsOverTokensAndOverDraws) {
  constexpr std::uint32_t kCount = 100000;
  std::vector<double> of_tokens;
  std::vector<double> of_draws;
  const GumbelNoise noise(12345, 67890);
  for (std::uint32_t i = 0; i < kCount; ++i) {
    of_tokens.push_back(noise.of(i));
    // Numbers of draws that are as alike as they can be.
    of_draws.push_back(GumbelNoise(7, i).of(3));
  }
  EXPECT_LT(distance(of_tokens), far_for(kCount));
  EXPECT_LT(distance(of_draws), far_for(kCount));
}

// What is largest of some is drawn from their softmax only if they know nothing
// of each other.
TEST(GumbelNoise, OfOneTokenTellsNothingOfAnothers) {
  constexpr std::uint32_t kCount = 50000;
  // 5 is in a block with 6 and 7.
  for (const std::uint32_t apart : {1u, 2u, 16u, 4096u}) {
    std::vector<double> larger;
    double sum = 0;
    for (std::uint32_t i = 0; i < kCount; ++i) {
      const GumbelNoise noise(2654435761u * i, 40503u * i + 1);
      const double a = noise.of(5);
      const double b = noise.of(5 + apart);
      // The larger of two is distributed as one that is ln 2 larger, and which
      // one is larger is even.
      larger.push_back(std::max(a, b) - std::log(2.0));
      sum += a > b ? 1 : 0;
    }
    EXPECT_LT(distance(larger), far_for(kCount)) << apart;
    EXPECT_NEAR(sum / kCount, 0.5, 5 * 0.5 / std::sqrt(kCount)) << apart;
  }
}

TEST(GumbelNoise, OfABlockIsBoundedClosely) {
  const GumbelNoise noise(99, 3);
  double largest = 0;
  for (std::uint32_t block = 0; block < 20000; ++block) {
    const float most = noise.most_of(block);
    float own = -INFINITY;
    for (std::uint32_t i = 0; i < GumbelNoise::kBlock; ++i) {
      const float of = noise.of(block * GumbelNoise::kBlock + i);
      ASSERT_TRUE(std::isfinite(of));
      own = std::max(own, of);
    }
    ASSERT_GE(most, own) << block;
    if (own > 6) {
      ASSERT_LE(most, own + 0.1f) << block;
    }
    largest = std::max(largest, double{own});
  }
  EXPECT_GT(largest, 10);
}

/// Which token of a block has the largest is even.
TEST(GumbelNoise, PicksEachTokenOfABlockAlike) {
  constexpr std::uint32_t kBlocks = 20000;
  std::vector<int> counts(GumbelNoise::kBlock);
  const GumbelNoise noise(5, 6);
  for (std::uint32_t block = 0; block < kBlocks; ++block) {
    std::uint32_t best = 0;
    for (std::uint32_t i = 1; i < GumbelNoise::kBlock; ++i) {
      const std::uint32_t first = block * GumbelNoise::kBlock;
      best = noise.of(first + i) > noise.of(first + best) ? i : best;
    }
    ++counts[best];
  }
  const double each = double{kBlocks} / GumbelNoise::kBlock;
  for (const int count : counts) {
    EXPECT_NEAR(count, each, 5 * std::sqrt(each));
  }
}

}  // namespace
}  // namespace roofline
