#include "roofline/decode/stop_rules.h"

#include <random>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

using Strings = std::vector<std::string>;

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

// The definition: the first place where any stop string is complete; there the
// longest one.
Outcome expected(const std::string& text, const Strings& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const auto& stop : stops) {
      if (end >= stop.size() &&
          text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) {
      return {text.substr(0, end - longest), true};
    }
  }
  return {text, false};
}

Outcome run(const Strings& pieces, const Strings& stops) {
  StopStrings rules(stops);
  Outcome out;
  for (const auto& piece : pieces) {
    out.text += rules.push(piece);
    if (rules.stopped()) {
      break;
    }
  }
  out.text += rules.flush();
  out.stopped = rules.stopped();
  return out;
}

TEST(StopStrings, AreFoundAcrossPieces) {
  EXPECT_EQ(
      run({"Hello ", "wor", "ld EN", "D more"}, {"END"}),
      (Outcome{"Hello world ", true}));
}

TEST(StopStrings, GiveHeldTextBackWhenItTurnsOutHarmless) {
  StopStrings rules({"STOP"});
  EXPECT_EQ(rules.push("a STO"), "a ");
  EXPECT_EQ(rules.push("NE"), "STONE");
  EXPECT_EQ(rules.push("ST"), "");
  EXPECT_EQ(rules.flush(), "ST");
  EXPECT_FALSE(rules.stopped());
}

TEST(StopStrings, HoldBackNoMoreThanTheyMust) {
  StopStrings rules({"abcabd"});
  EXPECT_EQ(rules.push("abcab"), "");
  // "abcabc": the tail "abc" may still begin the stop string.
  EXPECT_EQ(rules.push("c"), "abc");
  EXPECT_EQ(rules.push("x"), "abcx");
}

TEST(StopStrings, NeverPrintAnyPartOfOne) {
  EXPECT_EQ(run({"ab", "ab", "ac!"}, {"abac"}), (Outcome{"ab", true}));
  EXPECT_EQ(run({"</s", ">"}, {"</s>", "</"}), (Outcome{"", true}));
}

TEST(StopStrings, PreferTheLongestOfThoseThatEndTogether) {
  EXPECT_EQ(run({"x\n\nUser:"}, {"User:", "\nUser:"}), (Outcome{"x\n", true}));
}

TEST(StopStrings, DoNotDependOnHowTheTextIsCut) {
  std::mt19937 random(3);
  const auto word = [&](int most) {
    std::string out;
    const int length = 1 + static_cast<int>(random() % most);
    for (int i = 0; i < length; ++i) {
      out += "abc"[random() % 3];
    }
    return out;
  };
  for (int round = 0; round < 3000; ++round) {
    const std::string text = word(30);
    Strings stops = {word(6)};
    if (round % 2) {
      stops.push_back(word(6));
    }
    Strings pieces;
    for (std::size_t at = 0; at < text.size();) {
      pieces.push_back(text.substr(at, random() % 5));
      at += pieces.back().size();
    }
    EXPECT_EQ(run(pieces, stops), expected(text, stops)) << text;
  }
}

TEST(StopStrings, CutBetweenCharactersNeverInsideOne) {
  // é is C3 A9, è is C3 A8: they share a first byte.
  StopStrings rules({"éa"});
  EXPECT_EQ(rules.push("xè"), "xè");
  EXPECT_EQ(rules.push("é"), "");
  EXPECT_EQ(rules.push("é"), "é");
  EXPECT_EQ(rules.push("a"), "");
  EXPECT_TRUE(rules.stopped());
}

TEST(StopStrings, LetThroughWhatEndsBeforeTheyAreArmed) {
  StopStrings rules({"END"});
  EXPECT_EQ(rules.push("an END ", false), "an END ");
  EXPECT_EQ(rules.push("EN", false), "");
  EXPECT_EQ(rules.push("D", true), "");
  EXPECT_TRUE(rules.stopped());
}

TEST(StopStrings, MustNotBeEmptyOrBroken) {
  EXPECT_THROW(StopStrings({""}), UserError);
  EXPECT_THROW(StopStrings({"ok", "\xC3"}), UserError);
}

TEST(StopTokens, StopOnTheModelsAndTheCallers) {
  const std::vector<std::int32_t> eos = {2, 7}, extra = {9};
  StopTokens rules(eos, extra, {});
  for (const int token : {2, 7, 9}) {
    EXPECT_TRUE(rules.stops(token));
  }
  EXPECT_FALSE(rules.stops(3));
  EXPECT_TRUE(rules.banned(0).empty());
}

TEST(StopTokens, AreBannedUntilTheLeastLengthIsReached) {
  const std::vector<std::int32_t> eos = {2}, extra = {9};
  StopTokens rules(eos, extra, {.min_tokens = 3});
  EXPECT_EQ(rules.banned(0).size(), 2u);
  EXPECT_EQ(rules.banned(2).size(), 2u);
  EXPECT_TRUE(rules.banned(3).empty());
}

TEST(StopTokens, IgnoreTheModelsOwnWhenAsked) {
  const std::vector<std::int32_t> eos = {2, 5}, extra = {9, 5};
  StopTokens rules(eos, extra, {.ignore_eos = true});
  EXPECT_FALSE(rules.stops(2));
  EXPECT_TRUE(rules.stops(5));
  EXPECT_TRUE(rules.stops(9));
  ASSERT_EQ(rules.banned(100).size(), 1u);
  EXPECT_EQ(rules.banned(100)[0], 2);
}

}  // namespace
}  // namespace roofline
