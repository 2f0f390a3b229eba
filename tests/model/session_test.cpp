#include "roofline/model/session.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "model/golden.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using testing::argmax;
using testing::Golden;
using testing::load_exact_graph;
using testing::max_error;
using testing::open_golden;
using testing::to_host;

constexpr double kSessionTolerance = 0.01;

KvOptions chunks_of(int tokens) {
  KvOptions options;
  options.max_chunk = tokens;
  return options;
}

class SessionGolden : public ::testing::TestWithParam<std::string> {};

/// Also crosses the end of a rope regime, where a family has one.
TEST_P(SessionGolden, ContinuesGreedilyAsTheReference) {
  const auto golden = open_golden(GetParam());
  const auto decoder = load_exact_graph(golden);
  Session session(*decoder, chunks_of(5));
  std::vector<std::int32_t> tokens(
      golden.greedy.begin(),
      golden.greedy.begin() + 12);
  auto logits = session.extend(tokens);
  while (tokens.size() < golden.greedy.size()) {
    tokens.push_back(argmax(to_host(*logits)));
    logits = session.extend(std::span(tokens).last(1));
  }
  EXPECT_EQ(tokens, golden.greedy);
  EXPECT_EQ(session.tokens(), tokens);
}

TEST_P(SessionGolden, GivesAllLogitsOfAChunkedPrompt) {
  const auto golden = open_golden(GetParam());
  const auto decoder = load_exact_graph(golden);
  Session session(*decoder, chunks_of(9));
  const auto logits = session.extend(golden.ids[0], LogitRows::all);
  EXPECT_LT(max_error(to_host(*logits), golden.logits[0]), kSessionTolerance);
}

TEST_P(SessionGolden, ReusesAPrefixWithoutChangingTheLogits) {
  const auto golden = open_golden(GetParam());
  const auto decoder = load_exact_graph(golden);
  Session session(*decoder, chunks_of(16));
  auto other = golden.ids[0];
  other[30] = (other[30] + 1) % decoder->spec().vocab;
  session.extend(other);
  const auto kept = session.keep_prefix_of(golden.ids[0]);
  // Recurrent layers go back to the end of a chunk.
  EXPECT_TRUE(kept == 30 || kept == 16 || kept == 0) << kept;
  const auto rest = std::span(golden.ids[0]).subspan(kept);
  const auto logits = session.extend(rest, LogitRows::all);
  const auto from = kept * decoder->spec().vocab;
  EXPECT_LT(
      max_error(to_host(*logits), std::span(golden.logits[0]).subspan(from)),
      kSessionTolerance);
}

INSTANTIATE_TEST_SUITE_P(
    AllFamilies,
    SessionGolden,
    ::testing::ValuesIn(testing::golden_names()),
    [](const auto& info) { return info.param; });

TEST(Session, LeavesOneTokenToRunWhenThePromptIsAlreadyThere) {
  const auto golden = open_golden("llama");
  const auto decoder = load_exact_graph(golden);
  Session session(*decoder, chunks_of(64));
  session.extend(golden.ids[0]);
  EXPECT_EQ(session.keep_prefix_of(golden.ids[0]), 39);
  const auto logits = session.extend(std::span(golden.ids[0]).last(1));
  const auto expected = std::span(golden.logits[0]).last(decoder->spec().vocab);
  EXPECT_LT(max_error(to_host(*logits), expected), kSessionTolerance);
}

TEST(Session, AWindowThatCannotGoBackStartsAgain) {
  const auto golden = open_golden("mistral_window");
  const auto decoder = load_exact_graph(golden);
  Session session(*decoder, chunks_of(1));
  std::vector<std::int32_t> longer;
  for (int i = 0; i < 5; ++i) {
    longer.insert(longer.end(), golden.ids[0].begin(), golden.ids[0].end());
  }
  session.extend(longer);
  EXPECT_EQ(session.keep_prefix_of(golden.ids[0]), 0);
  EXPECT_TRUE(session.tokens().empty());
  const auto logits = session.extend(golden.ids[0]);
  const auto expected = std::span(golden.logits[0]).last(decoder->spec().vocab);
  EXPECT_LT(max_error(to_host(*logits), expected), kSessionTolerance);
}

TEST(Session, TriesTokensAndTakesThemBack) {
  // A window that has wrapped gives back all of a chunk too.
  for (const char* name : {"llama", "mistral_window"}) {
    const auto golden = open_golden(name);
    const auto decoder = load_exact_graph(golden);
    const std::span<const std::int32_t> ids = golden.ids[0];
    Session session(*decoder, chunks_of(7));
    session.extend(ids.first(20));
    for (std::int64_t at = 20; at < 39; ++at) {
      ASSERT_TRUE(session.can_try(7)) << name;
      const std::vector<std::int32_t> wrong(7, 1);
      session.extend(wrong, LogitRows::all);
      EXPECT_TRUE(session.go_back(at).empty());
      session.extend(ids.subspan(static_cast<std::size_t>(at), 1));
    }
    EXPECT_FALSE(session.can_try(8));
    const auto logits = session.extend(ids.last(1));
    EXPECT_TRUE(std::equal(ids.begin(), ids.end(), session.tokens().begin()));
    const auto expected =
        std::span(golden.logits[0]).last(decoder->spec().vocab);
    EXPECT_LT(max_error(to_host(*logits), expected), kSessionTolerance) << name;
  }
}

TEST(Session, TriesNothingAcrossTheEndOfARopeRegime) {
  const auto golden = open_golden("phi3_longrope");
  const auto decoder = load_exact_graph(golden);
  const auto end = decoder->regime_end(1);
  ASSERT_LT(end, 64);
  Session session(*decoder, chunks_of(16));
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(end) - 4, 1);
  session.extend(ids);
  EXPECT_TRUE(session.can_try(3));
  EXPECT_FALSE(session.can_try(4));
}

TEST(Session, StopsBetweenChunksAndKeepsWhatRan) {
  const auto golden = open_golden("llama");
  const auto decoder = load_exact_graph(golden);
  Session session(*decoder, chunks_of(8));
  int calls = 0;
  const auto logits = session.extend(golden.ids[0], LogitRows::last, [&] {
    return ++calls > 2;
  });
  EXPECT_FALSE(logits);
  EXPECT_EQ(session.tokens().size(), 16u);
  const auto rest = session.extend(std::span(golden.ids[0]).subspan(16));
  const auto expected = std::span(golden.logits[0]).last(decoder->spec().vocab);
  EXPECT_LT(max_error(to_host(*rest), expected), kSessionTolerance);
}

TEST(Session, IsEmptyAfterAnError) {
  const auto golden = open_golden("llama");
  const auto decoder = load_exact_graph(golden);
  Session session(*decoder, chunks_of(8));
  auto tokens = golden.ids[0];
  tokens[20] = -5;
  EXPECT_THROW(session.extend(tokens), UserError);
  EXPECT_TRUE(session.tokens().empty());
  EXPECT_EQ(session.cache().position(), 0);
}

TEST(Session, ARopeRegimeEndsWhereTheSpecSays) {
  const auto golden = open_golden("phi3_longrope");
  const auto decoder = load_exact_graph(golden);
  const auto& rope = *decoder->spec().layers[0].attention->rope;
  ASSERT_EQ(rope.regimes.size(), 2u);
  const auto border = rope.regimes[0].max_tokens;
  EXPECT_EQ(decoder->regime_end(1), border + 1);
  EXPECT_EQ(decoder->regime_end(border), border + 1);
  EXPECT_EQ(decoder->regime_end(border + 1), INT64_MAX);
}

}  // namespace
}  // namespace roofline
