#include "roofline/decode/truncation.h"

#include <gtest/gtest.h>

#include "decode/reference.h"

namespace roofline {
namespace {

using reference::Tokens;

Tokens tokens_of(const Candidates& list) {
  Tokens tokens;
  for (const Candidate& c : list) {
    tokens.insert(c.token);
  }
  EXPECT_EQ(tokens.size(), list.size()) << "a token is there twice";
  return tokens;
}

void expect_in_order_of_id(const Candidates& list) {
  for (std::size_t i = 1; i < list.size(); ++i) {
    EXPECT_LT(list[i - 1].token, list[i].token);
  }
}

// Rows of several lengths (also off the block sizes) and spreads (nearly flat
// to nearly certain).
struct Row {
  std::vector<float> logits;
  std::string name;
};

std::vector<Row> rows() {
  std::vector<Row> out;
  int seed = 0;
  for (const int vocab : {1, 2, 31, 33, 257, 1000, 4099}) {
    for (const float spread : {0.01f, 1.0f, 4.0f, 30.0f}) {
      out.push_back(
          {reference::random_logits(vocab, ++seed, spread),
           std::to_string(vocab) + " logits, spread " +
               std::to_string(spread)});
    }
  }
  return out;
}

TEST(TopK, KeepsTheSameTokensAsSortingEverything) {
  for (const Row& row : rows()) {
    for (const int k : {1, 2, 7, 40, 300, 5000}) {
      Candidates list;
      select_top_k(row.logits, k, list);
      EXPECT_EQ(tokens_of(list), reference::top_k(row.logits, k))
          << row.name << ", k " << k;
      expect_in_order_of_id(list);
    }
  }
}

TEST(TopK, KeepsTheLowerIdsOfEqualLogits) {
  std::vector<float> logits(3000, 1.0f);
  logits[2999] = 2.0f;
  Candidates list;
  select_top_k(logits, 3, list);
  EXPECT_EQ(tokens_of(list), (Tokens{0, 1, 2999}));
}

TEST(TopK, FindsRisingLogitsThatPassEveryThreshold) {
  std::vector<float> logits(5000);
  for (int i = 0; i < 5000; ++i) {
    logits[i] = static_cast<float>(i);
  }
  Candidates list;
  select_top_k(logits, 3, list);
  EXPECT_EQ(tokens_of(list), (Tokens{4997, 4998, 4999}));
}

TEST(TopP, KeepsTheSameTokensAsSortingEverything) {
  for (const Row& row : rows()) {
    for (const float p : {0.0f, 0.1f, 0.5f, 0.9f, 0.99f}) {
      Candidates list;
      select_top_p(row.logits, p, list);
      EXPECT_EQ(tokens_of(list), reference::top_p(row.logits, p))
          << row.name << ", p " << p;
      expect_in_order_of_id(list);
    }
  }
}

TEST(TopP, OfAListEqualsTopPOfTheRow) {
  for (const Row& row : rows()) {
    Candidates whole, list;
    select_top_p(row.logits, 0.8f, whole);
    select_above(row.logits, -1e30f, list);
    keep_top_p(list, 0.8f);
    EXPECT_EQ(tokens_of(list), tokens_of(whole)) << row.name;
  }
}

TEST(TopP, IgnoresBannedTokens) {
  std::vector<float> logits(100, -INFINITY);
  logits[20] = 1.0f;
  logits[70] = 0.0f;
  Candidates list;
  select_top_p(logits, 0.99f, list);
  EXPECT_EQ(tokens_of(list), (Tokens{20, 70}));
}

TEST(MinP, KeepsTheSameTokensAsSortingEverything) {
  for (const Row& row : rows()) {
    for (const float p : {0.01f, 0.3f, 1.0f}) {
      Candidates list;
      select_above(row.logits, -1e30f, list);
      keep_min_p(list, p);
      EXPECT_EQ(tokens_of(list), reference::min_p(row.logits, p))
          << row.name << ", p " << p;
    }
  }
}

TEST(MinP, MeasuresAgainstTheLikeliestThatIsLeft) {
  // Weights 1, 0.2, 0.15; the first is gone.
  Candidates list = {{1, -1.0f, 0.2f}, {2, -2.0f, 0.15f}, {3, -3.0f, 0.05f}};
  keep_min_p(list, 0.5f);
  EXPECT_EQ(tokens_of(list), (Tokens{1, 2}));
}

TEST(Typical, KeepsTheSameTokensAsSortingEverything) {
  for (const Row& row : rows()) {
    if (row.name.find("30.0") != std::string::npos) {
      continue;  // probabilities of 0 in double as well
    }
    for (const float p : {0.0f, 0.2f, 0.6f, 0.95f}) {
      Candidates list;
      select_above(row.logits, -1e30f, list);
      keep_typical(list, p);
      EXPECT_EQ(tokens_of(list), reference::typical(row.logits, p))
          << row.name << ", p " << p;
    }
  }
}

TEST(Typical, MayDropTheLikeliestToken) {
  // One token of 0.4 and sixty of 0.01: the entropy is 3.1 nats, the surprise
  // of the sixty 4.6 and that of the likeliest 0.9.
  std::vector<float> logits(61, std::log(0.01f));
  logits[0] = std::log(0.4f);
  Candidates list;
  select_above(logits, -1e30f, list);
  keep_typical(list, 0.295f);
  EXPECT_EQ(tokens_of(list).count(0), 0u);
  EXPECT_EQ(list.size(), 30u);
}

Candidates with_probabilities(std::vector<float> shares) {
  std::vector<float> logits;
  for (const float share : shares) {
    logits.push_back(std::log(share));
  }
  Candidates list;
  select_above(logits, -1e30f, list);
  return list;
}

TEST(Xtc, LeavesOnlyTheLeastLikelyOfTheTopChoices) {
  auto list = with_probabilities({0.1f, 0.4f, 0.05f, 0.25f, 0.2f});
  drop_top_choices(list, 0.15f);
  EXPECT_EQ(tokens_of(list), (Tokens{0, 2, 4}));
}

TEST(Xtc, DoesNothingWhenFewerThanTwoReachTheThreshold) {
  auto list = with_probabilities({0.1f, 0.7f, 0.2f});
  drop_top_choices(list, 0.3f);
  EXPECT_EQ(tokens_of(list), (Tokens{0, 1, 2}));
  drop_top_choices(list, 0.9f);
  EXPECT_EQ(tokens_of(list), (Tokens{0, 1, 2}));
}

TEST(Xtc, MeasuresProbabilityWithinTheList) {
  // Of the list, 0.2 and 0.1 are two and one thirds.
  auto list = with_probabilities({0.2f, 0.1f});
  drop_top_choices(list, 0.3f);
  EXPECT_EQ(tokens_of(list), (Tokens{1}));
}

TEST(Truncate, AppliesXtcOnlyWhenTheDrawIsBelowItsProbability) {
  const std::vector<float> logits(4, 0.0f);
  SamplingOptions options;
  options.xtc_probability = 0.5f;
  options.xtc_threshold = 0.2f;
  Candidates list;
  truncate(logits, options, 0.49, list);
  EXPECT_EQ(list.size(), 1u);
  truncate(logits, options, 0.5, list);
  EXPECT_EQ(list.size(), 4u);
}

TEST(Truncate, AppliesTopPToWhatTopKLeft) {
  // Of all, the first two hold 0.5; of the best three they hold 0.83.
  const auto shares = {0.3f, 0.2f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f};
  std::vector<float> logits;
  for (const float share : shares) {
    logits.push_back(std::log(share));
  }
  SamplingOptions options;
  options.top_k = 3;
  options.top_p = 0.75f;
  Candidates list;
  truncate(logits, options, 1.0, list);
  EXPECT_EQ(tokens_of(list), (Tokens{0, 1}));
  options.top_k = 0;
  truncate(logits, options, 1.0, list);
  EXPECT_EQ(list.size(), 5u);
}

TEST(Truncate, KeepsUnlikelyTokensThatAHighTemperatureBringsBack) {
  std::vector<float> logits = {0.0f, -200.0f, -9000.0f};
  SamplingOptions options;
  options.temperature = 10.0f;
  Candidates list;
  truncate(logits, options, 1.0, list);
  EXPECT_EQ(tokens_of(list), (Tokens{0, 1}));
}

}  // namespace
}  // namespace roofline
