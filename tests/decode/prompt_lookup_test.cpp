#include "roofline/decode/prompt_lookup.h"

#include <gtest/gtest.h>

#include "decode/fakes.h"

namespace roofline {
namespace {

using fakes::ids_of;
using Ids = std::vector<std::int32_t>;

Ids copy(std::span<const std::int32_t> ids) {
  return {ids.begin(), ids.end()};
}

Ids following(std::string_view text, int most) {
  PromptLookup lookup(ids_of(text));
  return copy(lookup.follow(most));
}

void push(PromptLookup& lookup, std::string_view text) {
  for (const auto id : ids_of(text)) {
    lookup.push(id);
  }
}

TEST(PromptLookup, FollowsWhatStoodBehindTheSameTokens) {
  EXPECT_EQ(following("the cat sat. the", 5), ids_of(" cat "));
}

TEST(PromptLookup, GuessesNothingWhereNothingRepeats) {
  EXPECT_TRUE(following("", 5).empty());
  EXPECT_TRUE(following("a", 5).empty());
  EXPECT_TRUE(following("abcdefg", 5).empty());
}

TEST(PromptLookup, ProposesNoGuessThatSomethingSpeaksAgainstUntilSuchComeTrue) {
  EXPECT_FALSE(PromptLookup(ids_of("a-b:a")).propose(5).empty());
  PromptLookup lookup(ids_of("a.b,a-b:a"));
  EXPECT_EQ(copy(lookup.follow(1)), ids_of("-"));
  EXPECT_TRUE(lookup.propose(5).empty());
  std::string text;
  for (char c = 'A'; c <= 'Z'; ++c) {
    // The second time something else follows it, and the third time again.
    text += {c, '1', c, '2', c, '2'};
    text += static_cast<char>(c - 'A' + 'a');
  }
  push(lookup, text);
  push(lookup, "!?!=");
  push(lookup, "!");
  EXPECT_FALSE(lookup.propose(5).empty());
}

TEST(PromptLookup, PrefersTheLongestRunAndThenTheLatest) {
  EXPECT_EQ(following("xabc1 abc2 yabc3 xabc", 1), ids_of("1"));
  EXPECT_EQ(following("abc1 abc2 abc", 1), ids_of("2"));
  EXPECT_EQ(following("wabc1 bc2 wabc", 1), ids_of("1"));
}

TEST(PromptLookup, GoesOnRepeatingWhatRepeatsItself) {
  EXPECT_EQ(following("..abab", 5), ids_of("ababa"));
  EXPECT_EQ(following("zzz", 4), ids_of("zzzz"));
}

TEST(PromptLookup, GuessesLessWhereRowsCostMore) {
  std::string text;
  for (char c = '!'; c <= '~'; ++c) {
    text += c;
  }
  const auto ids = ids_of(text + text.substr(0, 2));
  const StepCosts free{{1, 1, 1, 1, 1, 1, 1, 1, 1}, 0};
  const StepCosts as_steps{{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1};
  EXPECT_EQ(PromptLookup(ids, free).propose(20).size(), 20u);
  EXPECT_TRUE(PromptLookup(ids, as_steps).propose(20).empty());
  EXPECT_LT(
      PromptLookup(ids, usual_step_costs(Isa::avx2)).propose(20).size(),
      PromptLookup(ids, usual_step_costs(Isa::avx512)).propose(20).size());
}

TEST(PromptLookup, GuessesCostMoreBesideCheaperSteps) {
  const StepCosts costs{{1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5}, 0.5};
  const StepCosts dearer = costs.beside(0.5);
  EXPECT_EQ(dearer.of(0), 1);
  EXPECT_EQ(dearer.of(1), 3);
  EXPECT_EQ(dearer.of(8), 10);
  EXPECT_EQ(dearer.of(10), 12);
}

TEST(PromptLookup, EachFurtherRowOfAStepCostsSomething) {
  for (const Isa isa : kAllIsas) {
    const StepCosts& costs = usual_step_costs(isa);
    EXPECT_EQ(costs.of(0), 1) << isa_name(isa);
    for (int guesses = 1; guesses <= kMostPromptLookup; ++guesses) {
      EXPECT_GT(costs.of(guesses), costs.of(guesses - 1)) << isa_name(isa);
    }
    EXPECT_DOUBLE_EQ(costs.of(10), costs.first.back() + 2 * costs.further);
  }
}

TEST(PromptLookup, FindsTokensThatWereDrawnSince) {
  PromptLookup lookup(ids_of("Hi"));
  push(lookup, " abcd abc");
  EXPECT_EQ(copy(lookup.follow(2)), ids_of("d "));
}

TEST(PromptLookup, StaysAtItsPlaceWhileTheGuessesComeTrue) {
  // "12" was last followed by "9", but what is copied began with "k12".
  PromptLookup lookup(ids_of("k1234 12345 129 k1"));
  push(lookup, "2");
  EXPECT_EQ(copy(lookup.follow(2)), ids_of("34"));
}

TEST(PromptLookup, ProposesMoreAsGuessesComeTrueAndStopsWhenTheyDoNot) {
  std::string text;
  for (char c = '!'; c <= '~'; ++c) {
    text += c;
  }
  PromptLookup lookup(ids_of(text + text.substr(0, 2)));
  const auto first = lookup.propose(32).size();
  EXPECT_GE(first, 1u);
  push(lookup, text.substr(2, 60));
  const auto later = lookup.propose(32).size();
  EXPECT_GT(later, first);
  EXPECT_GE(later, 7u);
  EXPECT_EQ(lookup.propose(3).size(), 3u);

  // "ab" is known, and each time something else follows.
  PromptLookup fooled(ids_of("ab1"));
  for (char c = '2'; c < 'F'; ++c) {
    push(fooled, "ab");
    fooled.push(c);
  }
  push(fooled, "ab");
  EXPECT_FALSE(fooled.follow(4).empty());
  EXPECT_TRUE(fooled.propose(4).empty());
}

TEST(PromptLookup, ProposesAgainWhenGuessesThatWereNotProposedComeTrue) {
  PromptLookup lookup(ids_of("ab1"));
  for (char c = '2'; c < 'F'; ++c) {
    push(lookup, "ab");
    lookup.push(c);
  }
  for (int i = 0; i < 30; ++i) {
    push(lookup, "abX");
  }
  push(lookup, "ab");
  EXPECT_FALSE(lookup.propose(4).empty());
}

}  // namespace
}  // namespace roofline
