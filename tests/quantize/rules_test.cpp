#include "roofline/quantize/rules.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

TEST(Rules, MatchNamesByParts) {
  EXPECT_TRUE(matches("layers.*.down", "layers.7.feed_forward.down", 30));
  EXPECT_TRUE(
      matches("layers.*.feed_forward.*", "layers.7.feed_forward.up", 30));
  EXPECT_TRUE(matches("*.7.attention.q", "layers.7.attention.q", 30));
  EXPECT_TRUE(matches("embed", "embed", 30));
  EXPECT_TRUE(matches("layers.0-3.q", "layers.3.attention.q", 30));
  EXPECT_FALSE(matches("layers.0-3.q", "layers.4.attention.q", 30));
  EXPECT_FALSE(matches("layers.*.down", "layers.7.feed_forward.up", 30));
  EXPECT_FALSE(matches("layers.1.q", "layers.11.attention.q", 30));
  EXPECT_FALSE(matches("*", "layers.7.attention.q", 30));
}

TEST(Rules, EndsAreTheFirstAndLastEighth) {
  EXPECT_TRUE(matches("layers.ends.v", "layers.0.attention.v", 16));
  EXPECT_TRUE(matches("layers.ends.v", "layers.1.attention.v", 16));
  EXPECT_FALSE(matches("layers.ends.v", "layers.2.attention.v", 16));
  EXPECT_TRUE(matches("layers.ends.v", "layers.14.attention.v", 16));
}

TEST(Rules, TheLastThatFitsDecides) {
  const std::vector<FormatRule> rules = {
      parse_rule("layers.*.down=6", 64),
      parse_rule("layers.0.*=8/32", 64)};
  const MatrixFormat fallback{QuantMode::affine, 4, 64};
  EXPECT_EQ(
      format_for("layers.0.feed_forward.down", 4, rules, fallback),
      (MatrixFormat{QuantMode::affine, 8, 32}));
  EXPECT_EQ(
      format_for("layers.1.feed_forward.down", 4, rules, fallback).bits,
      6);
  EXPECT_EQ(format_for("layers.1.attention.q", 4, rules, fallback), fallback);
}

TEST(Rules, ReadFormats) {
  EXPECT_EQ(
      parse_format("mxfp8", 64, "x"),
      small_float_format(QuantMode::mxfp8));
  EXPECT_EQ(parse_format("keep", 64, "x").mode, QuantMode::keep);
  for (const char* bad : {"7", "4/48", "", "4/", "q4", "4x"}) {
    EXPECT_THROW(parse_format(bad, 64, "--rule"), UserError) << bad;
  }
  EXPECT_THROW(parse_rule("down", 64), UserError);
}

TEST(Recipes, HaveRulesThatCanBeRead) {
  for (const auto& each : recipes()) {
    parse_format(each.fallback, 64, "recipe");
    for (const auto rule : each.rules) {
      parse_rule(rule, 64);
    }
    EXPECT_EQ(recipe(each.name).what, each.what);
  }
  EXPECT_THROW(recipe("mixed"), UserError);
}

}  // namespace
}  // namespace roofline
