#include "roofline/model/graph_rope.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <cmath>

#include "model/golden.h"

namespace roofline {
namespace {

using testing::to_host;

constexpr int kHeads = 3, kTokens = 5, kHeadDim = 16;

RopeSpec spec_of(int rotated, RopeLayout layout, float magnitude) {
  RopeSpec spec;
  spec.rotated_dims = rotated;
  spec.layout = layout;
  RopeRegime regime;
  regime.magnitude = magnitude;
  for (int i = 0; i < rotated / 2; ++i) {
    regime.frequencies.push_back(
        static_cast<float>(std::pow(100.0, -2.0 * i / rotated)));
  }
  spec.regimes.push_back(regime);
  return spec;
}

mx::array some_heads() {
  std::vector<float> values(kHeads * kTokens * kHeadDim);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(0.37f * static_cast<float>(i));
  }
  return mx::array(values.data(), {1, kHeads, kTokens, kHeadDim});
}

/// The definition, in double.
std::vector<float> rotated(
    const mx::array& x,
    const RopeSpec& spec,
    const RopeRegime& regime,
    std::int64_t position) {
  auto values = to_host(x);
  const int half = spec.rotated_dims / 2;
  for (int row = 0; row < kHeads * kTokens; ++row) {
    auto* head = values.data() + row * kHeadDim;
    for (int i = 0; i < half; ++i) {
      const bool pairs = spec.layout == RopeLayout::interleaved;
      auto& a = head[pairs ? 2 * i : i];
      auto& b = head[pairs ? 2 * i + 1 : i + half];
      const double angle = static_cast<double>(regime.frequencies[i]) *
                           static_cast<double>(position + row % kTokens);
      const double x0 = a, x1 = b;
      a = static_cast<float>(
          regime.magnitude * (x0 * std::cos(angle) - x1 * std::sin(angle)));
      b = static_cast<float>(
          regime.magnitude * (x0 * std::sin(angle) + x1 * std::cos(angle)));
    }
  }
  return values;
}

double largest_gap(const std::vector<float>& a, const std::vector<float>& b) {
  double gap = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    gap = std::max<double>(gap, std::abs(a[i] - b[i]));
  }
  return gap;
}

TEST(GraphRope, RotatesAsDefinedInBothLayoutsWhollyAndInPart) {
  const auto x = some_heads();
  for (const auto layout : {RopeLayout::half_split, RopeLayout::interleaved}) {
    for (const int dims : {kHeadDim, kHeadDim / 2, 2}) {
      for (const float magnitude : {1.0f, 1.25f}) {
        for (const int position : {0, 1, 77, 1000}) {
          const auto spec = spec_of(dims, layout, magnitude);
          GraphRope rope(spec, kHeadDim);
          const auto y = to_host(rope(x, position, position + kTokens));
          const auto expected = rotated(x, spec, spec.regimes[0], position);
          // An angle of 1000 has an error of 2^-14 in float32.
          EXPECT_LT(largest_gap(y, expected), 2e-4)
              << dims << " dims at " << position;
        }
      }
    }
  }
}

TEST(GraphRope, AFrequencyOfZeroLeavesItsPairAlone) {
  auto spec = spec_of(kHeadDim, RopeLayout::half_split, 1.0f);
  spec.regimes[0].frequencies.assign(kHeadDim / 2, 0.0f);
  const auto x = some_heads();
  GraphRope rope(spec, kHeadDim);
  EXPECT_EQ(to_host(rope(x, 123, 200)), to_host(x));
}

TEST(GraphRope, TheLengthOfTheSequencePicksTheRegime) {
  auto spec = spec_of(kHeadDim, RopeLayout::half_split, 1.0f);
  spec.regimes[0].max_tokens = 100;
  auto slower = spec.regimes[0];
  slower.max_tokens = INT64_MAX;
  slower.magnitude = 1.5f;
  for (auto& each : slower.frequencies) {
    each /= 8;
  }
  spec.regimes.push_back(slower);
  const auto x = some_heads();
  GraphRope rope(spec, kHeadDim);
  for (const std::int64_t tokens : {100, 101, 50, 5000}) {
    const auto& regime = spec.regimes[tokens > 100 ? 1 : 0];
    EXPECT_LT(
        largest_gap(to_host(rope(x, 40, tokens)), rotated(x, spec, regime, 40)),
        1e-4)
        << tokens;
  }
}

}  // namespace
}  // namespace roofline
