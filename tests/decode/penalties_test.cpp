#include "roofline/decode/penalties.h"

#include <limits>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

using Ids = std::vector<std::int32_t>;

TokenCounts counted(const Ids& tokens, std::size_t vocab) {
  TokenCounts counts;
  counts.count(tokens, vocab);
  return counts;
}

TEST(RepetitionPenalty, DividesPositiveAndMultipliesNegativeLogitsOnce) {
  std::vector<float> logits = {2.0f, -2.0f, 3.0f, 0.0f};
  apply_repetition_penalty(logits, counted({0, 1, 0, 3, 0}, 4), 2.0f);
  EXPECT_EQ(logits, (std::vector<float>{1.0f, -4.0f, 3.0f, 0.0f}));
}

TEST(CountPenalties, SubtractPresenceOnceAndFrequencyPerOccurrence) {
  std::vector<float> logits = {0.0f, 0.0f, 0.0f};
  apply_count_penalties(logits, counted({1, 1, 1, 2}, 3), 0.5f, 0.25f);
  EXPECT_EQ(logits, (std::vector<float>{0.0f, -1.25f, -0.75f}));
}

TEST(TokenCounts, ForgetTheWindowBefore) {
  TokenCounts counts;
  counts.count(Ids{1, 1, 2}, 4);
  counts.count(Ids{3}, 4);
  EXPECT_EQ(counts.of(1), 0);
  EXPECT_EQ(counts.of(3), 1);
  EXPECT_EQ(counts.distinct().size(), 1u);
}

TEST(TokenCounts, RefuseTokensOutsideTheVocabulary) {
  TokenCounts counts;
  EXPECT_THROW(counts.count(Ids{4}, 4), BugError);
  EXPECT_THROW(counts.count(Ids{-1}, 4), BugError);
}

TEST(LastTokens, GiveTheWindowOrEverything) {
  const Ids history = {1, 2, 3};
  const auto size = [&](int window) {
    return last_tokens(history, window).size();
  };
  EXPECT_EQ(size(0), 0u);
  EXPECT_EQ(size(2), 2u);
  EXPECT_EQ(last_tokens(history, 2)[0], 2);
  EXPECT_EQ(size(3), 3u);
  EXPECT_EQ(size(9), 3u);
  EXPECT_EQ(size(-1), 3u);
}

TEST(LogitBias, AddsAndBans) {
  std::vector<float> logits = {1.0f, 1.0f, 1.0f};
  const float inf = std::numeric_limits<float>::infinity();
  apply_logit_bias(logits, {{0, 2.5f}, {2, -inf}});
  EXPECT_EQ(logits, (std::vector<float>{3.5f, 1.0f, -inf}));
}

TEST(LogitBias, NamesATokenOutsideTheVocabulary) {
  std::vector<float> logits(3, 0.0f);
  try {
    apply_logit_bias(logits, {{3, 1.0f}});
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("token 3"), std::string::npos);
  }
}

}  // namespace
}  // namespace roofline
