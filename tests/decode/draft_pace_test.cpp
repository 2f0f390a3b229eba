#include "roofline/decode/draft_pace.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>

namespace roofline {
namespace {

/// A pair of models: seconds, where a plain step takes one.
struct Pair {
  double draft = 0.1;
  double row = 0.1;
  /// Whether the guess at a token comes true.
  std::function<bool(int token)> right;
};

/// A repeatable chance.
bool chance(int token, double share) {
  auto bits = static_cast<std::uint32_t>(token) * 2654435761u;
  bits ^= bits >> 15;
  return (bits * 2246822519u >> 8) < share * (1u << 24);
}

std::function<bool(int)> often(double share) {
  return [share](int token) { return chance(token, share); };
}

/// Seconds that `tokens` take; a plain one takes 1.
double run(DraftPace& pace, const Pair& pair, int tokens, int first = 0) {
  double seconds = 0;
  for (int at = first; at < first + tokens;) {
    DraftRound round;
    round.drafted = pace.next(8);
    while (round.accepted < round.drafted &&
           pair.right(at + 1 + round.accepted)) {
      ++round.accepted;
    }
    round.draft_seconds = pair.draft * round.drafted;
    round.each_draft_seconds = round.drafted > 0 ? pair.draft : 0;
    round.seconds = 1 + (pair.draft + pair.row) * round.drafted;
    pace.note(round);
    seconds += round.seconds;
    at += 1 + round.accepted;
  }
  return seconds;
}

double speed(const Pair& pair, int tokens) {
  DraftPace pace(pair.draft);
  pace.begin(tokens);
  return tokens / run(pace, pair, tokens);
}

TEST(DraftPace, GuessesNothingBeforeItKnowsWhatAPlainStepTakes) {
  DraftPace pace;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(pace.next(8), 0);
    pace.note({.seconds = 1});
  }
  EXPECT_GT(pace.next(8), 0);
  EXPECT_EQ(pace.next(0), 0);
}

TEST(DraftPace, TriesALargeDraftModelOnlyWhereAnAnswerCanBearIt) {
  for (const double share : {0.1, 1.0}) {
    DraftPace pace(share);
    pace.begin(16);
    for (int i = 0; i < 4; ++i) {
      pace.note({.seconds = 1});
    }
    EXPECT_EQ(pace.next(8) > 0, share < 0.5) << share;
  }
}

TEST(DraftPace, GuessesFarWhereGuessesAreCheapAndComeTrue) {
  EXPECT_GT(speed({0.05, 0.05, often(0.95)}, 300), 2.5);
  EXPECT_GT(speed({0.1, 0.1, often(0.8)}, 300), 1.4);
}

TEST(DraftPace, IsNeverSlowerThan95PercentOfPlainSteps) {
  for (const int tokens : {48, 60, 100, 400, 3000}) {
    for (const double right : {0.0, 0.2, 0.5, 0.7, 1.0}) {
      for (const double draft : {0.02, 0.2, 0.5, 1.0, 1.3}) {
        for (const double row : {0.02, 0.3, 1.0}) {
          const double got = speed({draft, row, often(right)}, tokens);
          EXPECT_GE(got, 0.95) << tokens << " tokens, " << right << " right, "
                               << draft << " a guess, " << row << " a row";
        }
      }
    }
  }
}

TEST(DraftPace, StopsWhereGuessesNoLongerComeTrueAndComesBack) {
  DraftPace pace;
  const Pair good{0.05, 0.05, often(0.95)};
  const Pair bad{0.05, 0.05, often(0.0)};
  EXPECT_LT(run(pace, good, 500), 250);
  EXPECT_LT(run(pace, bad, 2000), 2000 / 0.95 + 20);
  EXPECT_LT(run(pace, good, 2000), 1400);
}

TEST(DraftPace, NoticesThatPlainStepsHaveBecomeFaster) {
  DraftPace pace;
  // A slow machine at first; a guess takes as long as a plain step.
  for (int i = 0; i < 9; ++i) {
    pace.note({.seconds = 3});
  }
  EXPECT_LT(run(pace, {1.0, 0.1, often(1.0)}, 400), 400 / 0.9 + 40);
}

TEST(DraftPace, DoesNotCatchUpWhereThatTakesLongerThanItMayLose) {
  DraftPace pace(0.1);
  for (int i = 0; i < 10; ++i) {
    pace.note({.seconds = 1});
  }
  EXPECT_EQ(pace.next(8, 50), 0);
  EXPECT_GT(pace.next(8, 0), 0);
}

TEST(DraftPace, KnowsAfterAnAnswerWhetherThePromptOfTheNextIsToBeRead) {
  EXPECT_TRUE(DraftPace().may_pay());
  for (const double share : {0.0, 0.95}) {
    DraftPace pace;
    run(pace, {0.2, 0.1, often(share)}, 400);
    pace.begin(400);
    EXPECT_EQ(pace.may_pay(), share > 0.5);
  }
}

TEST(DraftPace, ABurstOfANeighbourChangesNothing) {
  DraftPace pace;
  run(pace, {0.05, 0.05, often(1.0)}, 200);
  pace.note({.seconds = 1});
  const int before = pace.next(8);
  pace.note(
      {.drafted = 4,
       .accepted = 4,
       .seconds = 30,
       .draft_seconds = 20,
       .each_draft_seconds = 5});
  EXPECT_EQ(pace.next(8), before);
}

}  // namespace
}  // namespace roofline
