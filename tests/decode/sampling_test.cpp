#include "roofline/decode/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "decode/reference.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

SamplingOptions plain(float temperature = 1.0f) {
  SamplingOptions options;
  options.temperature = temperature;
  options.seed = 1234;
  return options;
}

Ids draw(
    const SamplingOptions& options,
    const std::vector<float>& logits,
    int count,
    const Ids& history = {},
    const Ids& banned = {}) {
  Sampler sampler(options, {});
  Ids out;
  for (int i = 0; i < count; ++i) {
    auto row = logits;
    out.push_back(sampler.sample(row, history, banned).token);
  }
  return out;
}

std::vector<float> logs(const std::vector<float>& shares) {
  std::vector<float> out;
  for (const float share : shares) {
    out.push_back(std::log(share));
  }
  return out;
}

// Every observed count within five standard deviations of a binomial, and
// nothing outside what has a probability.
void expect_distribution(
    const Ids& drawn,
    const std::map<std::int32_t, double>& probability) {
  std::map<std::int32_t, int> seen;
  for (const auto token : drawn) {
    EXPECT_TRUE(probability.count(token)) << token;
    ++seen[token];
  }
  const auto n = static_cast<double>(drawn.size());
  for (const auto& [token, p] : probability) {
    EXPECT_NEAR(seen[token] / n, p, 5 * std::sqrt(p * (1 - p) / n)) << token;
  }
}

TEST(Sampler, AtTemperatureZeroGivesTheFirstLargestLogit) {
  auto options = plain(0.0f);
  options.top_k = 3;
  options.xtc_probability = 1.0f;
  options.xtc_threshold = 0.0f;
  EXPECT_EQ(draw(options, {1, 5, 2, 5}, 3), (Ids{1, 1, 1}));
}

TEST(Sampler, AppliesPenaltiesAndBiasBeforeTheArgmax) {
  auto options = plain(0.0f);
  options.repetition_penalty = 2.0f;
  EXPECT_EQ(draw(options, {4, 3, 1}, 1, {0}), Ids{1});
  options.logit_bias = {{2, 2.5f}};
  EXPECT_EQ(draw(options, {4, 3, 1}, 1, {0}), Ids{2});
  options.logit_bias = {{1, -kInf}};
  EXPECT_EQ(draw(options, {4, 3, 1}, 1, {0}), Ids{0});
}

TEST(Sampler, CountsPenaltiesWithinTheirWindowOnly) {
  auto options = plain(0.0f);
  options.frequency_penalty = 1.0f;
  options.penalty_window = 3;
  const Ids history = {0, 0, 0, 1, 2, 2};
  EXPECT_EQ(draw(options, {5, 5.5, 6}, 1, history), Ids{0});
  options.penalty_window = -1;
  EXPECT_EQ(draw(options, {5, 5.5, 6}, 1, history), Ids{1});
  options.penalty_window = 0;
  EXPECT_EQ(draw(options, {5, 5.5, 6}, 1, history), Ids{2});
}

TEST(Sampler, NeverDrawsABannedToken) {
  EXPECT_EQ(draw(plain(0.0f), {9, 5, 1}, 1, {}, {0, 99, -1}), Ids{1});
  for (const auto token : draw(plain(5.0f), {9, 5, 1}, 200, {}, {0})) {
    EXPECT_NE(token, 0);
  }
}

TEST(Sampler, WithTopKOneGivesTheArgmaxAtAnyTemperature) {
  for (int seed = 0; seed < 20; ++seed) {
    const auto logits = reference::random_logits(500, seed, 1.0f);
    auto greedy = plain(0.0f);
    auto top_one = plain(50.0f);
    top_one.top_k = 1;
    EXPECT_EQ(draw(top_one, logits, 3), draw(greedy, logits, 3));
  }
}

TEST(Sampler, WithTopPZeroOrMinPOneGivesTheArgmax) {
  const auto logits = reference::random_logits(500, 3, 1.0f);
  auto greedy = draw(plain(0.0f), logits, 5);
  auto nucleus = plain(2.0f);
  nucleus.top_p = 0.0f;
  EXPECT_EQ(draw(nucleus, logits, 5), greedy);
  auto floor = plain(2.0f);
  floor.min_p = 1.0f;
  EXPECT_EQ(draw(floor, logits, 5), greedy);
}

TEST(Sampler, DrawsFromTheSoftmax) {
  const std::vector<float> shares = {0.5f, 0.05f, 0.15f, 0.3f};
  expect_distribution(
      draw(plain(), logs(shares), 20000),
      {{0, 0.5}, {1, 0.05}, {2, 0.15}, {3, 0.3}});
}

// As many tokens as a vocabulary has, in groups of equal shares.
TEST(Sampler, DrawsFromTheSoftmaxOfManyTokens) {
  constexpr int kVocab = 50000;
  constexpr int kGroups = 10;
  constexpr float kTemperature = 0.8f;
  const auto logits = reference::random_logits(kVocab, 3, 3.0f);
  std::vector<std::int32_t> all(kVocab);
  std::iota(all.begin(), all.end(), 0);
  const auto exact = reference::probabilities(logits, all, kTemperature);
  std::sort(all.begin(), all.end(), [&](int a, int b) {
    return exact[a] > exact[b];
  });
  std::vector<std::int32_t> group_of(kVocab);
  std::map<std::int32_t, double> shares;
  double sum = 0;
  for (const std::int32_t token : all) {
    const auto group = std::min(kGroups - 1, static_cast<int>(sum * kGroups));
    group_of[token] = group;
    shares[group] += exact[token];
    sum += exact[token];
  }
  Ids drawn;
  for (const std::int32_t token : draw(plain(kTemperature), logits, 20000)) {
    drawn.push_back(group_of[token]);
  }
  expect_distribution(drawn, shares);
}

TEST(Sampler, SharpensAndFlattensWithTheTemperature) {
  const auto logits = logs({0.5f, 0.05f, 0.15f, 0.3f});
  for (const float temperature : {0.3f, 0.7f, 3.0f}) {
    const auto exact =
        reference::probabilities(logits, {0, 1, 2, 3}, temperature);
    std::map<std::int32_t, double> expected;
    for (int i = 0; i < 4; ++i) {
      expected[i] = exact[i];
    }
    expect_distribution(draw(plain(temperature), logits, 20000), expected);
  }
}

TEST(Sampler, DrawsFromWhatTruncationLeft) {
  auto options = plain();
  options.top_k = 2;
  expect_distribution(
      draw(options, logs({0.5f, 0.05f, 0.15f, 0.3f}), 20000),
      {{0, 0.625}, {3, 0.375}});
}

TEST(Sampler, DrawsTheSameFromTheRowAsFromAListOfAll) {
  for (int round = 0; round < 200; ++round) {
    const auto logits = reference::random_logits(3000, round, 2.0f);
    auto options = plain(0.8f);
    options.seed = round;
    const auto row = draw(options, logits, 1);
    options.min_p = 1e-37f;  // keeps everything, but makes a list of it
    EXPECT_EQ(draw(options, logits, 1), row);
  }
}

TEST(Sampler, AppliesXtcInItsShareOfTheSteps) {
  auto options = plain();
  options.xtc_probability = 0.25f;
  options.xtc_threshold = 0.4f;
  // With XTC token 0 goes and 1 holds all that is left but 0.1 / 0.5.
  expect_distribution(
      draw(options, logs({0.5f, 0.4f, 0.1f}), 20000),
      {{0, 0.75 * 0.5},
       {1, 0.75 * 0.4 + 0.25 * 0.8},
       {2, 0.75 * 0.1 + 0.25 * 0.2}});
}

TEST(Sampler, GivesTheSameTokensForTheSameSeed) {
  const auto logits = reference::random_logits(1000, 5, 1.0f);
  auto options = plain();
  const auto first = draw(options, logits, 50);
  EXPECT_EQ(draw(options, logits, 50), first);
  options.seed = 1235;
  EXPECT_NE(draw(options, logits, 50), first);
}

// A fixed text: a change of generator, order or arithmetic must be noticed.
TEST(Sampler, KeepsItsSequenceFromVersionToVersion) {
  EXPECT_EQ(
      draw(plain(), std::vector<float>(1000, 0.0f), 4),
      (Ids{592, 506, 483, 607}));
}

TEST(Sampler, ReportsTheSeedItDrew) {
  SamplingOptions options;
  Sampler first(options, {});
  options.seed = first.seed();
  Sampler second(options, {});
  EXPECT_EQ(second.seed(), first.seed());
  const auto logits = reference::random_logits(1000, 6, 1.0f);
  for (int i = 0; i < 20; ++i) {
    auto a = logits, b = logits;
    EXPECT_EQ(first.sample(a, {}).token, second.sample(b, {}).token);
  }
}

TEST(Sampler, ReportsLogprobsOfTheModelsDistribution) {
  auto options = plain(0.0f);
  options.top_logprobs = 2;
  options.logit_bias = {{2, 100.0f}};
  Sampler sampler(options, {});
  auto logits = logs({0.5f, 0.05f, 0.15f, 0.3f});
  const SampledToken sample = sampler.sample(logits, Ids{});
  EXPECT_EQ(sample.token, 2);
  EXPECT_NEAR(sample.logprob, std::log(0.15), 1e-5);
  ASSERT_EQ(sample.top.size(), 2u);
  EXPECT_EQ(sample.top[0].token, 0);
  EXPECT_NEAR(sample.top[0].logprob, std::log(0.5), 1e-5);
  EXPECT_EQ(sample.top[1].token, 3);
  EXPECT_NEAR(sample.top[1].logprob, std::log(0.3), 1e-5);
}

TEST(Sampler, ReportsLogprobsThatSumToOne) {
  auto options = plain();
  options.top_logprobs = 300;
  Sampler sampler(options, {});
  auto logits = reference::random_logits(300, 8, 3.0f);
  double sum = 0;
  float last = 0.0f;
  for (const auto& [token, logprob] : sampler.sample(logits, Ids{}).top) {
    EXPECT_LE(logprob, last);
    last = logprob;
    sum += std::exp(logprob);
  }
  EXPECT_NEAR(sum, 1.0, 1e-5);
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  for (const float bad : {kNan, kInf}) {
    for (const float temperature : {0.0f, 1.0f}) {
      EXPECT_THROW(
          draw(plain(temperature), {1.0f, bad, 2.0f}, 1),
          CheckpointError);
    }
  }
  EXPECT_THROW(draw(plain(), {}, 1), BugError);
}

TEST(Sampler, SaysWhenEveryTokenIsBanned) {
  EXPECT_THROW(draw(plain(), {-kInf, -kInf}, 1), UserError);
  EXPECT_THROW(draw(plain(0.0f), {1.0f, 2.0f}, 1, {}, {0, 1}), UserError);
}

TEST(Sampler, SurvivesExtremeLogitsAndTemperatures) {
  const std::vector<float> logits = {3e38f, -3e38f, 1.0f};
  for (const float temperature : {1e-45f, 1e-38f, 1e-6f, 0.5f}) {
    EXPECT_EQ(draw(plain(temperature), logits, 2), (Ids{0, 0}));
  }
  EXPECT_EQ(draw(plain(100.0f), logits, 2), (Ids{0, 0}));
  auto options = plain(1.0f);
  options.typical_p = 0.5f;
  EXPECT_EQ(draw(options, logits, 2), (Ids{0, 0}));
}

struct BadOption {
  const char* name;
  std::function<void(SamplingOptions&)> set;
};

TEST(Validate, NamesTheOptionThatIsOutOfRange) {
  const std::vector<BadOption> bad = {
      {"temperature", [](auto& o) { o.temperature = -0.1f; }},
      {"temperature", [](auto& o) { o.temperature = kNan; }},
      {"temperature", [](auto& o) { o.temperature = kInf; }},
      {"top_k", [](auto& o) { o.top_k = -1; }},
      {"top_p", [](auto& o) { o.top_p = 1.1f; }},
      {"top_p", [](auto& o) { o.top_p = kNan; }},
      {"min_p", [](auto& o) { o.min_p = -0.1f; }},
      {"typical_p", [](auto& o) { o.typical_p = 2.0f; }},
      {"xtc_probability", [](auto& o) { o.xtc_probability = 1.5f; }},
      {"xtc_threshold", [](auto& o) { o.xtc_threshold = -1.0f; }},
      {"repetition_penalty", [](auto& o) { o.repetition_penalty = 0.0f; }},
      {"presence_penalty", [](auto& o) { o.presence_penalty = kNan; }},
      {"frequency_penalty", [](auto& o) { o.frequency_penalty = 1e9f; }},
      {"penalty_window", [](auto& o) { o.penalty_window = -2; }},
      {"dry_multiplier", [](auto& o) { o.dry.multiplier = -1.0f; }},
      {"dry_base", [](auto& o) { o.dry.base = 0.5f; }},
      {"dry_allowed_length", [](auto& o) { o.dry.allowed_length = 0; }},
      {"dry_window", [](auto& o) { o.dry.window_tokens = -2; }},
      {"dry_sequence_breakers",
       [](auto& o) { o.dry.sequence_breakers = {""}; }},
      {"top_logprobs", [](auto& o) { o.top_logprobs = -1; }},
      {"logit_bias",
       [](auto& o) {
         o.logit_bias = {{1, kInf}};
       }},
      {"logit_bias",
       [](auto& o) {
         o.logit_bias = {{1, kNan}};
       }},
      {"logit_bias",
       [](auto& o) {
         o.logit_bias = {{-1, 0.0f}};
       }},
  };
  for (const BadOption& option : bad) {
    SamplingOptions options;
    option.set(options);
    try {
      validate(options);
      ADD_FAILURE() << option.name << " was accepted";
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(option.name), std::string::npos)
          << error.what();
    }
  }
}

TEST(Validate, AcceptsTheDefaultsThePresetsAndTheBounds) {
  validate(SamplingOptions{});
  for (const Preset& preset : presets()) {
    validate(preset.options);
  }
  SamplingOptions options;
  options.top_p = 0.0f;
  options.min_p = 1.0f;
  options.repetition_penalty = 0.01f;
  options.logit_bias = {{0, -kInf}, {1, -1000.0f}, {2, 1000.0f}};
  validate(options);
}

TEST(Presets, HoldTheMiddleOfTheGuidesRanges) {
  const auto expect = [](const char* name, float t, float p, int k, float r) {
    const auto& options = find_preset(name).options;
    EXPECT_FLOAT_EQ(options.temperature, t) << name;
    EXPECT_FLOAT_EQ(options.top_p, p) << name;
    EXPECT_EQ(options.top_k, k) << name;
    EXPECT_FLOAT_EQ(options.repetition_penalty, r) << name;
  };
  expect("creative", 0.8f, 0.9f, 50, 1.1f);
  expect("qa", 0.2f, 0.9f, 40, 1.2f);
  expect("code", 0.35f, 0.95f, 50, 1.1f);
  expect("chat", 0.7f, 0.9f, 40, 1.1f);
  EXPECT_EQ(presets().size(), 4u);
}

TEST(Presets, SuggestTheNearestName) {
  try {
    find_preset("creativ");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("creative"), std::string::npos);
  }
}

int largest_of(const SamplingOptions& options, std::size_t banned) {
  return deciding_logits(options, banned, {}).largest;
}

TEST(DecidingLogits, AreTheLargestWhereRanksDecide) {
  SamplingOptions options;
  options.temperature = 0;
  options.top_p = 0.9f;
  EXPECT_EQ(largest_of(options, 0), 1);
  EXPECT_EQ(largest_of(options, 2), 3);
  EXPECT_EQ(deciding_logits(options, 0, {}).temperature, 0);
  options.repetition_penalty = 1.1f;
  EXPECT_EQ(largest_of(options, 0), 1 + options.penalty_window);
  options.penalty_window = -1;
  EXPECT_EQ(largest_of(options, 0), 0);
  options = {};
  options.top_k = 40;
  options.typical_p = 0.9f;
  EXPECT_EQ(largest_of(options, 1), 41);
  EXPECT_EQ(deciding_logits(options, 0, {}).temperature, 0);
  options.top_k = 5000;
  EXPECT_EQ(largest_of(options, 0), 0);
}

TEST(DecidingLogits, AreThoseNearTheLargestWithMinP) {
  SamplingOptions options;
  options.min_p = 0.05f;
  options.xtc_probability = 0.5f;
  const auto deciding = deciding_logits(options, 2, {});
  EXPECT_EQ(deciding.largest, 3);
  EXPECT_EQ(deciding.temperature, 0);
  EXPECT_GE(deciding.depth, -std::log(0.05f));
  EXPECT_LE(deciding.depth, -std::log(0.04f));
  options.top_p = 0.9f;
  EXPECT_EQ(largest_of(options, 0), 0);
}

TEST(DecidingLogits, AreTheLargestWithNoiseInADrawFromAll) {
  SamplingOptions options;
  options.temperature = 0.6f;
  options.presence_penalty = 0.5f;
  const auto deciding = deciding_logits(options, 2, GumbelNoise(3, 4));
  EXPECT_EQ(deciding.largest, 3 + options.penalty_window);
  EXPECT_EQ(deciding.temperature, 0.6f);
  EXPECT_EQ(deciding.depth, 0);
  EXPECT_EQ(deciding.noise.first(), 3u);
  EXPECT_EQ(deciding.noise.second(), 4u);
}

TEST(DecidingLogits, AreAllWhereProbabilitiesOfAllDecide) {
  for (const auto& change : std::vector<std::function<void(SamplingOptions&)>>{
           [](SamplingOptions& o) { o.top_p = 0.9f; },
           [](SamplingOptions& o) { o.typical_p = 0.9f; },
           [](SamplingOptions& o) { o.xtc_probability = 0.1f; }}) {
    SamplingOptions options;
    change(options);
    EXPECT_TRUE(deciding_logits(options, 0, {}).all());
  }
}

TEST(DecidingLogits, AreAllWhereOthersMayRiseOrAreTold) {
  for (const float temperature : {0.0f, 0.8f}) {
    for (const auto& change :
         std::vector<std::function<void(SamplingOptions&)>>{
             [](SamplingOptions& o) { o.repetition_penalty = 0.9f; },
             [](SamplingOptions& o) { o.presence_penalty = -0.5f; },
             [](SamplingOptions& o) { o.frequency_penalty = -0.5f; },
             [](SamplingOptions& o) { o.dry.multiplier = 0.8f; },
             [](SamplingOptions& o) {
               o.logit_bias = {{3, 2.0f}};
             },
             [](SamplingOptions& o) { o.top_logprobs = 2; }}) {
      SamplingOptions options;
      options.temperature = temperature;
      change(options);
      EXPECT_TRUE(deciding_logits(options, 0, {}).all());
    }
  }
}

/// The least that a logit can be, with its noise, and decide.
float least_deciding(
    const DecidingLogits& deciding,
    const std::vector<float>& logits) {
  std::vector<float> sorted;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    sorted.push_back(logits[i] + deciding.noise_of(static_cast<int>(i)));
  }
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  return sorted[static_cast<std::size_t>(deciding.largest) - 1] -
         deciding.depth;
}

/// Draws are the same where all but the deciding logits are estimates that lie
/// anywhere below.
TEST(DecidingLogits, DecideDraws) {
  std::mt19937 random(17);
  std::normal_distribution<float> normal(0, 3);
  constexpr int kVocab = 300;
  const std::vector<std::int32_t> banned = {4, 299};
  for (int round = 0; round < 400; ++round) {
    SamplingOptions options;
    options.seed = static_cast<std::uint64_t>(round);
    options.temperature = round % 3 == 0 ? 0.0f : 0.9f;
    const bool ranks = round % 3 == 1;
    options.top_k = ranks ? 1 + round % 20 : 0;
    options.min_p = round % 5 == 0 ? 0.05f : 0.0f;
    if (ranks || options.temperature == 0) {
      options.top_p = round % 4 == 0 ? 0.8f : 1.0f;
      options.typical_p = round % 7 == 0 ? 0.7f : 1.0f;
    }
    if (ranks || options.min_p > 0) {
      options.xtc_probability = round % 2 == 1 ? 1.0f : 0.0f;
    }
    options.penalty_window = 12;
    options.repetition_penalty = round % 2 == 0 ? 1.3f : 1.0f;
    options.presence_penalty = round % 8 == 0 ? 0.7f : 0.0f;
    std::vector<float> logits(kVocab);
    for (float& logit : logits) {
      logit = normal(random);
    }
    std::vector<std::int32_t> history;
    for (int i = 0; i < 30; ++i) {
      history.push_back(static_cast<std::int32_t>(random() % kVocab));
    }
    Sampler from_all(options, {});
    const DecidingLogits deciding = from_all.deciding_logits(banned.size());
    ASSERT_FALSE(deciding.all());
    const float least = least_deciding(deciding, logits);
    std::vector<float> estimates = logits;
    int estimated = 0;
    for (std::size_t i = 0; i < estimates.size(); ++i) {
      const float noise = deciding.noise_of(static_cast<int>(i));
      if (logits[i] + noise < least) {
        estimates[i] = least - noise - 1e-3f - std::abs(normal(random));
        ++estimated;
      }
    }
    EXPECT_GT(estimated, kVocab / 2) << "round " << round;
    Sampler from_best(options, {});
    EXPECT_EQ(
        from_all.sample(logits, history, banned).token,
        from_best.sample(estimates, history, banned).token)
        << "round " << round;
  }
}

}  // namespace
}  // namespace roofline
