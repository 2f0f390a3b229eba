#include "roofline/cli/options.h"

#include <cmath>

#include <gtest/gtest.h>
#include <CLI/CLI.hpp>

#include "roofline/base/errors.h"
#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

/// The options as `generate` and `chat` resolve them.
GenerateOptions resolve(const std::vector<std::string>& arguments) {
  CLI::App app("", "test");
  app.allow_extras();
  AnswerFlags flags;
  flags.declare(app);
  parse_arguments(app, arguments);
  return flags.generate_options();
}

SamplingOptions sampling(const std::vector<std::string>& arguments) {
  return resolve(arguments).sampling;
}

TEST(Options, NothingGivenMeansTheLibrariesDefaults) {
  const GenerateOptions options = resolve({});
  const GenerateOptions defaults;
  EXPECT_EQ(options.sampling.temperature, defaults.sampling.temperature);
  EXPECT_EQ(options.max_tokens, defaults.max_tokens);
  EXPECT_EQ(options.overflow, ContextOverflow::error);
  EXPECT_FALSE(options.max_kv_tokens);
}

TEST(Options, APresetSetsWhatNoOptionSets) {
  const SamplingOptions options =
      sampling({"--top-k", "7", "--preset", "creative"});
  EXPECT_EQ(options.top_k, 7);
  EXPECT_FLOAT_EQ(options.temperature, 0.8f);
  EXPECT_FLOAT_EQ(options.top_p, 0.9f);
  EXPECT_FLOAT_EQ(options.repetition_penalty, 1.1f);
}

TEST(Options, EachSamplingOptionReachesItsField) {
  const SamplingOptions options = sampling(
      {"--temp",
       "0.5",
       "--top-p",
       "0.6",
       "--min-p",
       "0.1",
       "--typical",
       "0.8",
       "--xtc-probability",
       "0.2",
       "--xtc-threshold",
       "0.3",
       "--repeat-penalty",
       "1.2",
       "--presence-penalty",
       "0.4",
       "--frequency-penalty",
       "0.7",
       "--penalty-window",
       "-1",
       "--dry-multiplier",
       "0.9",
       "--dry-base",
       "2",
       "--dry-allowed-length",
       "3",
       "--dry-window",
       "100",
       "--seed",
       "18446744073709551615",
       "--logprobs",
       "5"});
  EXPECT_FLOAT_EQ(options.temperature, 0.5f);
  EXPECT_FLOAT_EQ(options.top_p, 0.6f);
  EXPECT_FLOAT_EQ(options.min_p, 0.1f);
  EXPECT_FLOAT_EQ(options.typical_p, 0.8f);
  EXPECT_FLOAT_EQ(options.xtc_probability, 0.2f);
  EXPECT_FLOAT_EQ(options.xtc_threshold, 0.3f);
  EXPECT_FLOAT_EQ(options.repetition_penalty, 1.2f);
  EXPECT_FLOAT_EQ(options.presence_penalty, 0.4f);
  EXPECT_FLOAT_EQ(options.frequency_penalty, 0.7f);
  EXPECT_EQ(options.penalty_window, -1);
  EXPECT_FLOAT_EQ(options.dry.multiplier, 0.9f);
  EXPECT_FLOAT_EQ(options.dry.base, 2.0f);
  EXPECT_EQ(options.dry.allowed_length, 3);
  EXPECT_EQ(options.dry.window_tokens, 100);
  EXPECT_EQ(options.seed, UINT64_MAX);
  EXPECT_EQ(options.top_logprobs, 5);
}

TEST(Options, RepeatedTextsStayWholeAndAreUnescaped) {
  const GenerateOptions options =
      resolve({"--stop", "[a, b]", "--stop", "x\\n", "--dry-breaker", "\\t"});
  EXPECT_EQ(options.stop, (std::vector<std::string>{"[a, b]", "x\n"}));
  EXPECT_EQ(
      options.sampling.dry.sequence_breakers,
      std::vector<std::string>{"\t"});
}

TEST(Options, LogitBiasesAddUpAsAMap) {
  const auto bias = sampling({"--logit-bias",
                              "5=-1.5",
                              "--logit-bias",
                              "7=2",
                              "--logit-bias",
                              "5=3"})
                        .logit_bias;
  EXPECT_EQ(bias, (std::map<std::int32_t, float>{{5, 3.0f}, {7, 2.0f}}));
}

TEST(Options, AnUnknownOptionNamesTheNearest) {
  try {
    resolve({"--tmep", "1"});
    FAIL() << "accepted";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("--temp"), std::string::npos)
        << error.what();
  }
}

TEST(LogitBias, TakesAnIdAndANumber) {
  EXPECT_EQ(
      parse_logit_bias("12=-3"),
      (std::pair<std::int32_t, float>{12, -3}));
  EXPECT_TRUE(std::isinf(parse_logit_bias("0=-inf").second));
  for (const char* text :
       {"",
        "=",
        "1",
        "1=",
        "=1",
        "-1=2",
        "1=x",
        "x=1",
        "1=nan",
        "1=2=3",
        "99999999999=1"}) {
    EXPECT_THROW(parse_logit_bias(text), UserError) << text;
  }
}

TEST(Unescape, ReplacesWhatItKnowsAndKeepsTheRest) {
  EXPECT_EQ(unescape("a\\nb\\tc\\\\n"), "a\nb\tc\\n");
  EXPECT_EQ(unescape("\\d\\"), "\\d\\");
  EXPECT_EQ(unescape(""), "");
}

}  // namespace

}  // namespace roofline::cli
