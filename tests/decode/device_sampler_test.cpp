#include "roofline/decode/device_sampler.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>
#include <mlx/ops.h>

namespace roofline {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr int kVocab = 400;
constexpr float kInf = std::numeric_limits<float>::infinity();

/// Rounded coarsely, as half types round: many are equal.
std::vector<float> random_logits(unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> row(kVocab);
  for (float& logit : row) {
    logit = std::round(normal(random) * 8) / 8;
  }
  return row;
}

mx::array array_of(const Ids& ids) {
  return mx::array(ids.data(), {static_cast<int>(ids.size())});
}

std::int32_t draw_on_device(
    const SamplingOptions& options,
    const std::vector<float>& row,
    const Ids& history = {},
    const Ids& banned = {},
    std::uint64_t step = 0) {
  const DeviceSampler sampler(options, *options.seed);
  std::optional<mx::array> recent;
  if (!history.empty()) {
    recent = array_of(history);
  }
  const mx::array logits(row.data(), {1, kVocab});
  return sampler.draw(logits, recent, banned, step).item<std::int32_t>();
}

SamplingOptions options_of(float temperature) {
  SamplingOptions options;
  options.temperature = temperature;
  options.seed = 77;
  return options;
}

/// How many of 60 draws from changing rows are those of the host.
int agreeing(
    const SamplingOptions& options,
    const Ids& history = {},
    const Ids& banned = {}) {
  Sampler host(options, {});
  int same = 0;
  for (unsigned step = 0; step < 60; ++step) {
    const auto row = random_logits(step);
    auto changed = row;
    const auto expected = host.sample(changed, history, banned).token;
    same += draw_on_device(options, row, history, banned, step) == expected;
  }
  return same;
}

// Sums are rounded in another order: a token at top-p's border may be left out.
constexpr int kAllButOne = 59;

TEST(DeviceSampler, TakesTheLikeliestAtTemperatureZero) {
  EXPECT_EQ(agreeing(options_of(0.0f)), 60);
}

TEST(DeviceSampler, DrawsWhatTheHostDraws) {
  EXPECT_GE(agreeing(options_of(0.3f)), kAllButOne);
  EXPECT_GE(agreeing(options_of(1.0f)), kAllButOne);
  EXPECT_GE(agreeing(options_of(5.0f)), kAllButOne);
}

TEST(DeviceSampler, TruncatesAsTheHostDoes) {
  for (const int top_k : {0, 1, 7, kVocab, 2 * kVocab}) {
    for (const float top_p : {0.0f, 0.5f, 0.9f, 1.0f}) {
      for (const float min_p : {0.0f, 0.1f}) {
        auto options = options_of(3.0f);
        options.top_k = top_k;
        options.top_p = top_p;
        options.min_p = min_p;
        EXPECT_GE(agreeing(options), kAllButOne)
            << top_k << " " << top_p << " " << min_p;
      }
    }
  }
}

TEST(DeviceSampler, PenalisesWhatWasSaidOnceForEachTime) {
  const Ids history = {3, 5, 3, 3, 399, 0};
  for (const float temperature : {0.0f, 2.0f}) {
    auto options = options_of(temperature);
    options.repetition_penalty = 1.5f;
    EXPECT_GE(agreeing(options, history), kAllButOne);
    options.presence_penalty = 0.7f;
    options.frequency_penalty = 2.0f;
    EXPECT_GE(agreeing(options, history), kAllButOne);
  }
}

TEST(DeviceSampler, CountsEveryOccurrenceOfAToken) {
  auto options = options_of(0.0f);
  options.frequency_penalty = 1.0f;
  std::vector<float> row(kVocab, 0.0f);
  row[3] = 5.0f;
  row[4] = 3.5f;
  EXPECT_EQ(draw_on_device(options, row, {3}), 3);
  EXPECT_EQ(draw_on_device(options, row, {3, 3}), 4);
}

TEST(DeviceSampler, AddsBiasesAndLeavesOutWhatIsBanned) {
  auto options = options_of(0.0f);
  options.logit_bias = {{17, 100.0f}, {18, 90.0f}};
  EXPECT_EQ(draw_on_device(options, random_logits(1)), 17);
  const Ids banned = {17, kVocab + 4};  // a config's end token may lie beyond
  EXPECT_EQ(agreeing(options, {}, banned), 60);
  // A bias doesn't bring back what is banned.
  EXPECT_EQ(draw_on_device(options, random_logits(1), {}, banned), 18);
}

TEST(DeviceSampler, DrawsNothingFromWhatIsNoNumber) {
  for (const float bad : {std::nanf(""), kInf}) {
    auto row = random_logits(2);
    row[200] = bad;
    EXPECT_EQ(draw_on_device(options_of(0.0f), row), -1);
    EXPECT_EQ(draw_on_device(options_of(1.0f), row), -1);
  }
  EXPECT_EQ(
      draw_on_device(options_of(1.0f), std::vector<float>(kVocab, -kInf)),
      -1);
}

TEST(DeviceSampler, LeavesToTheHostWhatItLacks) {
  EXPECT_TRUE(DeviceSampler::can(options_of(1.0f)));
  auto options = options_of(1.0f);
  options.typical_p = 0.9f;
  EXPECT_FALSE(DeviceSampler::can(options));
  options = options_of(1.0f);
  options.xtc_probability = 0.1f;
  EXPECT_FALSE(DeviceSampler::can(options));
  options = options_of(1.0f);
  options.dry.multiplier = 0.8f;
  EXPECT_FALSE(DeviceSampler::can(options));
  options = options_of(1.0f);
  options.top_logprobs = 1;
  EXPECT_FALSE(DeviceSampler::can(options));
}

}  // namespace
}  // namespace roofline
