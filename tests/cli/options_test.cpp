#include "roofline/cli/options.h"

#include <cmath>
#include <memory>

#include <gtest/gtest.h>
#include "roofline/base/errors.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

/// The options as `generate` and `chat` resolve them.
GenerateOptions resolve(const std::vector<std::string>& arguments) {
  App app("", "test");
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

/// What a command says to these arguments; empty: it takes them.
std::string answer(
    const CommandEntry& entry,
    const std::vector<std::string>& arguments) {
  const std::unique_ptr<Command> command = entry.make();
  const std::unique_ptr<App> app = make_app(entry, *command);
  try {
    parse_arguments(*app, arguments);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

/// Whether they are refused, and for this value: something else may be missing.
bool refuses(
    const CommandEntry& entry,
    const std::vector<std::string>& arguments,
    const std::string& value) {
  return answer(entry, arguments).find("can't be \"" + value + "\"") !=
         std::string::npos;
}

/// Calls check(entry, name) for each option "--name" of each command that takes
/// a value, or none.
template <class Check>
void for_options(bool with_value, Check check) {
  for (const CommandEntry& entry : commands()) {
    const std::unique_ptr<Command> command = entry.make();
    const std::unique_ptr<App> app = make_app(entry, *command);
    for (const CLI::Option* option : app->get_options()) {
      const bool named = !option->get_lnames().empty();
      if (named && (option->get_expected_max() > 0) == with_value) {
        check(entry, "--" + option->get_lnames().front());
      }
    }
  }
}

TEST(EveryCommand, ReadsNumbersInDecimalDigitsOnly) {
  int numbers = 0;
  for_options(true, [&](const CommandEntry& entry, const std::string& name) {
    if (answer(entry, {name, "soon"}).find("number") == std::string::npos) {
      return;
    }
    ++numbers;
    for (const char* text : {"0x10", "inf", "nan", "1e400", " 5", "1_0"}) {
      EXPECT_TRUE(refuses(entry, {name, text}, text))
          << entry.name << " " << name << " " << text;
    }
  });
  EXPECT_GT(numbers, 50);
}

TEST(EveryCommand, RefusesAValueForAFlag) {
  int flags = 0;
  for_options(false, [&](const CommandEntry& entry, const std::string& name) {
    ++flags;
    for (const std::string value : {"5", "false", "no"}) {
      EXPECT_TRUE(refuses(entry, {name + "=" + value}, value))
          << entry.name << " " << name;
    }
    EXPECT_FALSE(refuses(entry, {name}, "true")) << entry.name << " " << name;
  });
  EXPECT_GT(flags, 30);
}

TEST(EveryCommand, RefusesEmptyEntriesOfLists) {
  for_options(true, [](const CommandEntry& entry, const std::string& name) {
    if (answer(entry, {name, "soon,1"}).find("commas") != std::string::npos) {
      EXPECT_TRUE(refuses(entry, {name, "1,,2"}, "1,,2"))
          << entry.name << " " << name;
    }
  });
}

TEST(Options, ANumberWithZerosInFrontIsDecimal) {
  EXPECT_EQ(sampling({"--top-k", "010"}).top_k, 10);
  EXPECT_EQ(sampling({"--seed", "+08"}).seed, 8u);
  EXPECT_FLOAT_EQ(sampling({"--temp", "00.5"}).temperature, 0.5f);
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
        "1=0x2",
        "0x1=2",
        " 1=2",
        "1=1e400",
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
