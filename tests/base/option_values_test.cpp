#include "roofline/base/option_values.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

TEST(ParseNumber, ReadsDecimalDigits) {
  EXPECT_EQ(parse_number<int>("12"), 12);
  EXPECT_EQ(parse_number<int>("-3"), -3);
  EXPECT_EQ(parse_number<int>("+3"), 3);
  EXPECT_EQ(parse_number<int>("010"), 10);
  EXPECT_EQ(parse_number<std::uint64_t>("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_number<double>("0.5"), 0.5);
  EXPECT_EQ(parse_number<double>(".5"), 0.5);
  EXPECT_EQ(parse_number<double>("5."), 5);
  EXPECT_EQ(parse_number<double>("-1e-3"), -1e-3);
  EXPECT_EQ(parse_number<double>("2.5E+2"), 250);
  EXPECT_EQ(parse_number<float>("1e-60"), 0.0f);
}

TEST(ParseNumber, RefusesWhatIsNotAllOfItANumber) {
  for (const char* text :
       {"",    " ",    "-",        "+-1",   "--1",   "x",     "1x",
        " 1",  "1 ",   "0x10",     "0b1",   "1'000", "1_0",   "1,5",
        "e5",  ".",    "-.",       "1e",    "1e+",   "1.2.3", "inf",
        "nan", "-inf", "infinity", "0x1p3", "1e5.5"}) {
    EXPECT_FALSE(parse_number<int>(text)) << text;
    EXPECT_FALSE(parse_number<double>(text)) << text;
  }
  EXPECT_FALSE(parse_number<int>("1.5"));
  EXPECT_FALSE(parse_number<int>("1e3"));
}

TEST(ParseNumber, RefusesWhatATypeCannotHold) {
  EXPECT_TRUE(parse_number<int>("2147483647"));
  EXPECT_FALSE(parse_number<int>("2147483648"));
  EXPECT_FALSE(parse_number<unsigned>("-1"));
  EXPECT_FALSE(parse_number<std::uint64_t>("18446744073709551616"));
  EXPECT_TRUE(parse_number<float>("3e38"));
  EXPECT_FALSE(parse_number<float>("-4e38"));
  EXPECT_TRUE(parse_number<double>("4e38"));
  EXPECT_FALSE(parse_number<double>("1e400"));
}

TEST(SplitList, CutsAtCommas) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(split_list("a,b c,d", "--x"), (Texts{"a", "b c", "d"}));
  EXPECT_EQ(split_list("a", "--x"), Texts{"a"});
  EXPECT_EQ(split_list("", "--x"), Texts{});
}

TEST(SplitList, RefusesEmptyEntriesAndNamesTheOption) {
  for (const char* text : {",", "a,", ",a", "a,,b"}) {
    try {
      split_list(text, "--parts");
      FAIL() << text;
    } catch (const UserError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find("--parts"), what.npos) << what;
      EXPECT_NE(what.find(text), what.npos) << what;
    }
  }
}

}  // namespace
}  // namespace roofline
