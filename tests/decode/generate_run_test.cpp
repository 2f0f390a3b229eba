#include "roofline/decode/generate_run.h"

#include <gtest/gtest.h>

#include "decode/fakes.h"
#include "model/golden.h"
#include "roofline/base/errors.h"
#include "roofline/decode/random.h"

namespace roofline {
namespace {

using fakes::ids_of;
using fakes::ScriptedDecoder;
using Ids = std::vector<std::int32_t>;

GenerateOptions greedy_for(int max_tokens) {
  GenerateOptions options;
  options.sampling.temperature = 0.0f;
  options.max_tokens = max_tokens;
  return options;
}

std::int32_t refrain_of_a_song(std::int64_t position) {
  return "Row, row, row your boat. "[position % 25];
}

/// At a low peak draws are of many tokens.
ScriptedDecoder flat_song(bool estimates) {
  ScriptedDecoder decoder(refrain_of_a_song);
  decoder.peak = 3.0f;
  decoder.estimates = estimates;
  return decoder;
}

TEST(GenerateRun, AsksForTheLogitsThatDecideEachDraw) {
  GenerateOptions options = greedy_for(40);
  options.min_tokens = 40;
  options.sampling.temperature = 1.0f;
  options.sampling.seed = 9;
  const fakes::ByteTokenizer tokenizer;
  const auto say = [&](ScriptedDecoder& decoder) {
    return Generator(decoder, tokenizer).run(ids_of("Sing"), options, {});
  };
  ScriptedDecoder whole = flat_song(false);
  ScriptedDecoder part = flat_song(true);
  const GenerateResult said = say(part);
  EXPECT_EQ(said.tokens, say(whole).tokens);
  EXPECT_FALSE(said.stats.all_logits);
  ASSERT_EQ(part.asked.size(), 40u);
  for (std::size_t step = 0; step < part.asked.size(); ++step) {
    const GumbelNoise noise = token_noise(9, step);
    EXPECT_EQ(part.asked[step].temperature, 1.0f);
    EXPECT_EQ(part.asked[step].noise.first(), noise.first());
    EXPECT_EQ(part.asked[step].noise.second(), noise.second());
  }
}

// Rows of one step are drawn from with different noise.
TEST(GenerateRun, AsksForAllLogitsOfGuessesThatAreDrawn) {
  GenerateOptions options = greedy_for(120);
  options.prompt_lookup = 8;
  const fakes::ByteTokenizer tokenizer;
  for (const float temperature : {0.0f, 0.5f}) {
    options.sampling.temperature = temperature;
    options.sampling.seed = 9;
    ScriptedDecoder decoder(refrain_of_a_song);
    Generator(decoder, tokenizer).run(ids_of("Sing"), options, {});
    int checked = 0;
    for (std::size_t i = 1; i < decoder.calls.size(); ++i) {
      if (decoder.calls[i].size() > 1) {
        EXPECT_EQ(decoder.asked[i].all(), temperature > 0);
        ++checked;
      }
    }
    EXPECT_GT(checked, 5);
  }
}

struct LookupSaid {
  GenerateResult result;
  Ids next;  ///< what a second prompt ran
  std::size_t calls = 0;
};

LookupSaid say_looked_up(const GenerateOptions& options, bool lazy = false) {
  ScriptedDecoder decoder(refrain_of_a_song);
  decoder.lazy = lazy;
  const fakes::ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  const auto prompt = ids_of("Sing");
  LookupSaid said;
  said.result = generator.run(prompt, options, {});
  said.calls = decoder.calls.size();
  Ids longer = prompt;
  const Ids& drawn = said.result.tokens;
  longer.insert(longer.end(), drawn.begin(), drawn.end());
  longer.insert(longer.end(), {'?', '?'});
  decoder.calls.clear();
  generator.run(longer, greedy_for(0), {});
  said.next = decoder.calls.at(0);
  return said;
}

/// Runs with and without, and expects what can be seen to be the same.
LookupSaid expect_same_looked_up(GenerateOptions options, bool lazy = false) {
  const LookupSaid without = say_looked_up(options, lazy);
  options.prompt_lookup = 8;
  LookupSaid with = say_looked_up(options, lazy);
  EXPECT_EQ(with.result.tokens, without.result.tokens);
  EXPECT_EQ(with.result.text, without.result.text);
  EXPECT_EQ(with.result.finish, without.result.finish);
  EXPECT_EQ(with.result.logprobs.size(), without.result.logprobs.size());
  EXPECT_EQ(without.result.stats.proposed_tokens, 0);
  EXPECT_LE(
      with.result.stats.accepted_tokens,
      with.result.stats.proposed_tokens);
  return with;
}

TEST(GeneratorWithPromptLookup, SaysTheSameInFewerSteps) {
  for (const bool lazy : {false, true}) {
    const LookupSaid said = expect_same_looked_up(greedy_for(200), lazy);
    EXPECT_GT(said.result.stats.accepted_tokens, 100);
    EXPECT_EQ(
        said.calls,
        200u - static_cast<unsigned>(said.result.stats.accepted_tokens));
  }
}

TEST(GeneratorWithPromptLookup, LeavesNoProposalInTheCache) {
  for (int tokens = 60; tokens < 75; ++tokens) {
    const LookupSaid said = expect_same_looked_up(greedy_for(tokens));
    // The last token drawn was not run yet.
    EXPECT_EQ(said.next.size(), 3u) << tokens;
  }
}

TEST(GeneratorWithPromptLookup, StopsWhereItWouldStop) {
  auto options = greedy_for(200);
  options.stop = {"your boat. Row, row, row y"};
  options.min_tokens = 60;
  const LookupSaid said = expect_same_looked_up(options);
  EXPECT_EQ(said.result.finish, FinishReason::stop_string);
  EXPECT_LE(said.next.size(), 3u);
  options.stop = {};
  options.stop_tokens = {'b'};
  EXPECT_EQ(
      expect_same_looked_up(options).result.finish,
      FinishReason::stop_token);
}

TEST(GeneratorWithPromptLookup, DrawsTheSameWithSeedsPenaltiesAndLogprobs) {
  auto options = greedy_for(150);
  options.sampling.top_logprobs = 2;
  options.sampling.repetition_penalty = 1.5f;
  options.sampling.frequency_penalty = 0.1f;
  options.sampling.dry.multiplier = 0.8f;
  EXPECT_EQ(expect_same_looked_up(options).result.logprobs.size(), 150u);
  for (std::uint64_t seed = 1; seed < 6; ++seed) {
    options.sampling.temperature = 2.5f;
    options.sampling.seed = seed;
    expect_same_looked_up(options);
  }
}

TEST(GeneratorWithPromptLookup, RollsAsWithoutIt) {
  auto options = greedy_for(300);
  options.max_kv_tokens = 40;
  options.prefill_chunk = 16;
  EXPECT_GT(expect_same_looked_up(options).result.stats.accepted_tokens, 100);
  // No room for a second row.
  options.prefill_chunk = 1;
  EXPECT_EQ(expect_same_looked_up(options).result.stats.proposed_tokens, 0);
}

TEST(GeneratorWithPromptLookup, RefusesNumbersOutOfRange) {
  for (const int bad : {-1, kMostPromptLookup + 1}) {
    auto options = greedy_for(1);
    options.prompt_lookup = bad;
    EXPECT_THROW(validate(options), UserError);
  }
}

/// What a golden says after `prompt`.
Ids golden_answer(
    const testing::Golden& golden,
    const Ids& prompt,
    GenerateOptions options,
    GenerateStats& stats) {
  ModelOptions model_options;
  model_options.device = DeviceChoice::cpu;
  model_options.exact = true;
  const auto decoder = Decoder::load(*golden.checkpoint, model_options);
  const fakes::ByteTokenizer tokenizer;
  Generator generator(*decoder, tokenizer);
  options.ignore_eos = true;
  const auto result = generator.run(prompt, options, {});
  stats = result.stats;
  return result.tokens;
}

class PromptLookupGolden : public ::testing::TestWithParam<std::string> {};

/// Windows that wrap, and rope regimes that end, among them.
TEST_P(PromptLookupGolden, SaysTheSameAsWithoutIt) {
  const auto golden = testing::open_golden(GetParam());
  // The model's own answer as a part of the prompt, so that it says it again.
  Ids prompt(golden.greedy.begin(), golden.greedy.begin() + 12);
  int proposed = 0;
  for (const float temperature : {0.0f, 0.7f}) {
    auto options = greedy_for(90);
    options.sampling.temperature = temperature;
    options.sampling.seed = 5;
    options.prefill_chunk = 12;
    GenerateStats stats;
    const auto expected = golden_answer(golden, prompt, options, stats);
    options.prompt_lookup = 6;
    EXPECT_EQ(golden_answer(golden, prompt, options, stats), expected);
    proposed += stats.proposed_tokens;
    prompt.insert(prompt.end(), expected.begin(), expected.begin() + 20);
  }
  EXPECT_GT(proposed, 0);
}

/// Those of the fused step whose context has room for two prompts and answers.
std::vector<std::string> roomy_goldens() {
  return testing::goldens_that([](const ModelSpec& spec) {
    return !missing_in_cpu_step(spec) && spec.context_tokens >= 128;
  });
}

INSTANTIATE_TEST_SUITE_P(
    AllFamilies,
    PromptLookupGolden,
    ::testing::ValuesIn(roomy_goldens()),
    [](const auto& info) { return info.param; });

}  // namespace
}  // namespace roofline
