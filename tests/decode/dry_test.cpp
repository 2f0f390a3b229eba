#include "roofline/decode/dry.h"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "decode/reference.h"

namespace roofline {
namespace {

using Ids = std::vector<std::int32_t>;
using Runs = std::vector<std::pair<std::int32_t, int>>;

Runs runs_of(const Ids& history, const Ids& breakers, int allowed) {
  Runs out;
  for (const RepeatedRun& run : repeated_runs(history, breakers, allowed)) {
    out.push_back({run.token, run.length});
  }
  return out;
}

TEST(RepeatedRuns, FindWhatFollowedTheSameWords) {
  // "1 2 3" was followed by 4; now "1 2 3" stands at the end.
  EXPECT_EQ(runs_of({1, 2, 3, 4, 9, 1, 2, 3}, {}, 2), (Runs{{4, 3}}));
}

TEST(RepeatedRuns, ReportTheLongestRunForEachToken) {
  // 3 → 7 after a run of one, 2 3 → 7 after a run of two, 3 → 8 after one.
  const Ids history = {3, 7, 2, 3, 7, 3, 8, 2, 3};
  EXPECT_EQ(runs_of(history, {}, 1), (Runs{{7, 2}, {8, 1}}));
}

TEST(RepeatedRuns, LeaveShortRunsAlone) {
  EXPECT_EQ(runs_of({1, 2, 3, 9, 1, 2}, {}, 2), (Runs{{3, 2}}));
  EXPECT_EQ(runs_of({1, 2, 3, 9, 1, 2}, {}, 3), Runs{});
}

TEST(RepeatedRuns, OverlapWithTheirOwnEnd) {
  // Five times the same token: the run before the last one has length four.
  EXPECT_EQ(runs_of({5, 5, 5, 5, 5}, {}, 2), (Runs{{5, 4}}));
}

TEST(RepeatedRuns, EndAtABreaker) {
  // The run "1 2 0 3" is cut by the breaker 0 to "3".
  const Ids history = {1, 2, 0, 3, 4, 9, 1, 2, 0, 3};
  EXPECT_EQ(runs_of(history, {}, 1), (Runs{{4, 4}}));
  EXPECT_EQ(runs_of(history, {0}, 1), (Runs{{4, 1}}));
  EXPECT_EQ(runs_of(history, {0}, 2), Runs{});
}

TEST(RepeatedRuns, AreNoneWhenTheLastTokenIsABreaker) {
  EXPECT_EQ(runs_of({1, 2, 0, 5, 1, 2, 0}, {0}, 1), Runs{});
}

TEST(RepeatedRuns, NeverPenaliseABreaker) {
  EXPECT_EQ(runs_of({1, 2, 0, 1, 2}, {0}, 2), Runs{});
  EXPECT_EQ(runs_of({1, 2, 0, 1, 2}, {}, 2), (Runs{{0, 2}}));
}

TEST(RepeatedRuns, OfShortHistoriesAreNone) {
  EXPECT_EQ(runs_of({}, {}, 1), Runs{});
  EXPECT_EQ(runs_of({1}, {}, 1), Runs{});
}

TEST(RepeatedRuns, AgreeWithComparingEveryPlaceOnRandomHistories) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    const int vocab = 2 + static_cast<int>(random() % 4);
    Ids history(random() % 60);
    for (auto& token : history) {
      token = static_cast<std::int32_t>(random() % vocab);
    }
    const Ids breakers = round % 2 ? Ids{0} : Ids{};
    const int allowed = 1 + static_cast<int>(random() % 3);
    const reference::Tokens set(breakers.begin(), breakers.end());
    EXPECT_EQ(
        runs_of(history, breakers, allowed),
        reference::repeated_runs(history, set, allowed));
  }
}

TEST(Dry, GrowsByTheBaseForEveryTokenPastTheAllowedLength) {
  std::vector<float> logits(10, 0.0f);
  DryOptions options;
  options.multiplier = 0.8f;
  options.base = 1.75f;
  options.allowed_length = 2;
  apply_dry(logits, Ids{1, 2, 3, 4, 9, 1, 2, 3}, {}, options);
  EXPECT_FLOAT_EQ(logits[4], -0.8f * 1.75f);
  logits[4] = 0.0f;
  EXPECT_EQ(logits, std::vector<float>(10, 0.0f));
}

TEST(Dry, LooksNoFurtherThanItsWindow) {
  std::vector<float> logits(10, 0.0f);
  DryOptions options;
  options.multiplier = 1.0f;
  const Ids history = {1, 2, 3, 9, 9, 1, 2};
  options.window_tokens = 6;  // "2 3 9 9 1 2": a run of one
  apply_dry(logits, history, {}, options);
  EXPECT_EQ(logits[3], 0.0f);
  options.window_tokens = 7;
  apply_dry(logits, history, {}, options);
  EXPECT_EQ(logits[3], -1.0f);
}

TEST(Dry, StaysFiniteOnVeryLongRuns) {
  std::vector<float> logits(2, 0.0f);
  DryOptions options;
  options.multiplier = 1.0f;
  apply_dry(logits, Ids(5000, 1), {}, options);
  EXPECT_TRUE(std::isfinite(logits[1]));
  EXPECT_LE(logits[1], -1e6f);
}

}  // namespace
}  // namespace roofline
