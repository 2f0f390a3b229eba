#include "roofline/decode/generate.h"

#include <limits>

#include <gtest/gtest.h>
#include <mlx/memory.h>

#include "decode/fakes.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using fakes::ByteTokenizer;
using fakes::ids_of;
using fakes::kEos;
using fakes::says;
using fakes::ScriptedDecoder;
using Ids = std::vector<std::int32_t>;

GenerateOptions greedy(int max_tokens = 100) {
  GenerateOptions options;
  options.sampling.temperature = 0.0f;
  options.max_tokens = max_tokens;
  return options;
}

struct Told {
  GenerateResult result;
  std::vector<std::string> pieces;
  std::string joined;
};

Told tell(
    Decoder& decoder,
    const GenerateOptions& options,
    const Ids& prompt = ids_of("Hi")) {
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  Told told;
  told.result = generator.run(prompt, options, [&](std::string_view piece) {
    told.pieces.emplace_back(piece);
    told.joined += piece;
  });
  return told;
}

Told tell(const std::string& answer, const GenerateOptions& options) {
  ScriptedDecoder decoder(says(answer, 2));
  return tell(decoder, options);
}

TEST(Generator, SaysWhatTheModelSaysUntilItEnds) {
  const auto told = tell("Good day.", greedy());
  EXPECT_EQ(told.result.text, "Good day.");
  EXPECT_EQ(told.joined, "Good day.");
  EXPECT_EQ(told.result.tokens, ids_of("Good day."));
  EXPECT_EQ(told.result.finish, FinishReason::stop_token);
  EXPECT_EQ(told.result.stats.prompt_tokens, 2);
  EXPECT_EQ(told.result.stats.generated_tokens, 9);
}

TEST(Generator, SaysTheSameWhenTheDecoderIsLazy) {
  for (const auto& stop : {Ids{}, Ids{'d'}}) {
    auto options = greedy();
    options.stop_tokens = stop;
    ScriptedDecoder eager(says("A good day", 2)), lazy(says("A good day", 2));
    lazy.lazy = true;
    EXPECT_EQ(tell(eager, options).joined, tell(lazy, options).joined);
  }
}

TEST(Generator, NeverPrintsPartOfACharacter) {
  const std::string answer = "naïve €5 😀 漢字";
  const auto told = tell(answer, greedy());
  EXPECT_EQ(told.joined, answer);
  for (const std::string& piece : told.pieces) {
    EXPECT_FALSE(first_invalid_utf8(piece)) << piece;
    EXPECT_FALSE(piece.empty());
  }
}

TEST(Generator, PrintsTheDecodeOfAllTokensEvenWhenTheBytesAreBroken) {
  const std::string answer = "a\xE2\x82 b\xC3 \xF0\x9F\x98";
  const auto told = tell(answer, greedy());
  const ByteTokenizer tokenizer;
  EXPECT_EQ(told.joined, tokenizer.decode(told.result.tokens, false));
  EXPECT_EQ(told.joined, told.result.text);
}

TEST(Generator, StopsAtAStringAcrossTokensWithoutPrintingAnyOfIt) {
  auto options = greedy();
  options.stop = {"User:"};
  const auto told = tell("Yes. Use it.\nUser: more", options);
  EXPECT_EQ(told.joined, "Yes. Use it.\n");
  EXPECT_EQ(told.result.text, "Yes. Use it.\n");
  EXPECT_EQ(told.result.finish, FinishReason::stop_string);
  EXPECT_EQ(told.result.tokens, ids_of("Yes. Use it.\nUser:"));
}

TEST(Generator, PrintsWhatItHeldBackWhenTheAnswerEndsElsewhere) {
  auto options = greedy();
  options.stop = {"User:"};
  EXPECT_EQ(tell("Ask Us", options).joined, "Ask Us");
  options.max_tokens = 5;
  EXPECT_EQ(tell("Ask Us", options).joined, "Ask U");
}

TEST(Generator, StopsAtTheCallersTokensAndLeavesThemOut) {
  auto options = greedy();
  options.stop_tokens = {'!'};
  const auto told = tell("Oh! No", options);
  EXPECT_EQ(told.joined, "Oh");
  EXPECT_EQ(told.result.tokens, ids_of("Oh"));
  EXPECT_EQ(told.result.finish, FinishReason::stop_token);
}

TEST(Generator, SaysAtLeastMinTokens) {
  auto options = greedy();
  options.min_tokens = 8;
  const auto told = tell("Hm", options);
  EXPECT_EQ(told.result.tokens.size(), 8u);
  EXPECT_EQ(told.result.finish, FinishReason::stop_token);
  for (const auto token : told.result.tokens) {
    EXPECT_NE(token, kEos);
  }
}

TEST(Generator, LetsStopStringsThroughBeforeMinTokens) {
  auto options = greedy();
  options.stop = {"."};
  options.min_tokens = 4;
  EXPECT_EQ(tell("a. b. c", options).joined, "a. b");
}

TEST(Generator, IgnoresTheEndWhenAsked) {
  auto options = greedy(20);
  options.ignore_eos = true;
  const auto told = tell("Hm", options);
  EXPECT_EQ(told.result.tokens.size(), 20u);
  EXPECT_EQ(told.result.finish, FinishReason::length);
  for (const auto token : told.result.tokens) {
    EXPECT_NE(token, kEos);
  }
}

TEST(Generator, SaysAtMostMaxTokensAndRunsNoStepBeyondThem) {
  ScriptedDecoder decoder(says("Good day.", 2));
  const auto told = tell(decoder, greedy(4));
  EXPECT_EQ(told.joined, "Good");
  EXPECT_EQ(told.result.finish, FinishReason::length);
  EXPECT_EQ(decoder.calls.size(), 4u);  // the prompt, and three tokens
}

TEST(Generator, OfNoTokensOnlyRunsThePrompt) {
  ScriptedDecoder decoder(says("Good day.", 2));
  const auto told = tell(decoder, greedy(0));
  EXPECT_EQ(told.joined, "");
  EXPECT_EQ(told.result.finish, FinishReason::length);
  EXPECT_EQ(decoder.calls.size(), 1u);
}

TEST(Generator, CutsThePromptIntoChunks) {
  ScriptedDecoder decoder(says("x", 11));
  auto options = greedy(1);
  options.prefill_chunk = 4;
  tell(decoder, options, Ids(11, 'a'));
  ASSERT_EQ(decoder.calls.size(), 3u);
  EXPECT_EQ(decoder.calls[0].size(), 4u);
  EXPECT_EQ(decoder.calls[2].size(), 3u);
}

TEST(Generator, RunsOnlyWhatIsNewInTheNextPrompt) {
  ScriptedDecoder decoder([](std::int64_t) { return 'y'; });
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  auto prompt = ids_of("first question");
  const auto first = generator.run(prompt, greedy(5), {});
  prompt.insert(prompt.end(), first.tokens.begin(), first.tokens.end());
  prompt.insert(prompt.end(), {'?', '?'});
  decoder.calls.clear();
  const auto second = generator.run(prompt, greedy(1), {});
  // Four of the five drawn tokens were run; the last one was not yet.
  EXPECT_EQ(second.stats.cached_tokens, 18);
  EXPECT_EQ(second.stats.prompt_tokens, 21);
  ASSERT_EQ(decoder.calls.size(), 1u);
  EXPECT_EQ(decoder.calls[0], (Ids{'y', '?', '?'}));
}

TEST(Generator, RunsTheLastTokenAgainWhenThePromptIsTheSame) {
  ScriptedDecoder decoder(says("x", 5));
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  const auto prompt = ids_of("again");
  const auto first = generator.run(prompt, greedy(), {});
  const auto second = generator.run(prompt, greedy(), {});
  EXPECT_EQ(second.text, first.text);
  EXPECT_EQ(second.stats.cached_tokens, 4);
}

TEST(Generator, ForgetsEverythingOnReset) {
  ScriptedDecoder decoder(says("x", 5));
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  generator.run(ids_of("again"), greedy(), {});
  generator.reset();
  EXPECT_EQ(
      generator.run(ids_of("again"), greedy(), {}).stats.cached_tokens,
      0);
}

TEST(Generator, StopsBeforeThePromptWhenItIsCancelledAlready) {
  ScriptedDecoder decoder(says("x", 5));
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  const std::atomic<bool> cancel = true;
  const auto result = generator.run(ids_of("again"), greedy(), {}, &cancel);
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_TRUE(decoder.calls.empty());
}

TEST(Generator, StopsBetweenTheChunksOfAPrompt) {
  ScriptedDecoder decoder(says("x", 5));
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  std::atomic<bool> cancel = false;
  decoder.on_forward = [&] { cancel = true; };
  auto options = greedy();
  options.prefill_chunk = 8;
  const auto result = generator.run(Ids(100, 'a'), options, {}, &cancel);
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(decoder.calls.size(), 1u);
  EXPECT_EQ(result.stats.prefill_tokens_per_second(), 0.0);
  // What ran is kept for the next try.
  cancel = false;
  decoder.on_forward = {};
  EXPECT_EQ(generator.run(Ids(100, 'a'), options, {}).stats.cached_tokens, 8);
}

TEST(Generator, StopsBetweenTokensAndKeepsWhatWasSaid) {
  ScriptedDecoder decoder(says("A long story", 2));
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  std::atomic<bool> cancel = false;
  std::string said;
  const auto result = generator.run(
      ids_of("Hi"),
      greedy(),
      [&](std::string_view piece) {
        said += piece;
        cancel = said.size() >= 6;
      },
      &cancel);
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(said, "A long");
  EXPECT_EQ(result.text, "A long");
}

TEST(Generator, RefusesAPromptLongerThanTheContextWithBothNumbers) {
  ScriptedDecoder decoder(says("x", 5), 64);
  try {
    tell(decoder, greedy(), Ids(64, 'a'));
    FAIL();
  } catch (const UserError& error) {
    const std::string what = error.what();
    for (const char* part : {"64", "--context-overflow roll", "--max-kv"}) {
      EXPECT_NE(what.find(part), std::string::npos) << what;
    }
  }
  EXPECT_TRUE(decoder.calls.empty());
}

TEST(Generator, EndsAnAnswerAtTheContext) {
  ScriptedDecoder decoder([](std::int64_t) { return 'y'; }, 64);
  const auto told = tell(decoder, greedy(1000), Ids(60, 'a'));
  EXPECT_EQ(told.joined, "yyyy");
  EXPECT_EQ(told.result.finish, FinishReason::length);
}

TEST(Generator, RollsPastTheContextWhenAsked) {
  ScriptedDecoder decoder([](std::int64_t) { return 'y'; }, 64);
  auto options = greedy(200);
  options.overflow = ContextOverflow::roll;
  options.prefill_chunk = 16;
  const auto told = tell(decoder, options, Ids(60, 'a'));
  EXPECT_EQ(told.result.tokens.size(), 200u);
  EXPECT_EQ(told.result.stats.dropped_tokens, 0);
}

TEST(Generator, KeepsFirstAndLatestOfALongPromptThatRolls) {
  ScriptedDecoder decoder([](std::int64_t) { return 'y'; }, 64);
  auto options = greedy(1);
  options.overflow = ContextOverflow::roll;
  Ids prompt(100);
  for (int i = 0; i < 100; ++i) {
    prompt[i] = i;
  }
  const auto told = tell(decoder, options, prompt);
  EXPECT_EQ(told.result.stats.prompt_tokens, 100);
  EXPECT_EQ(told.result.stats.dropped_tokens, 36);
  ASSERT_EQ(decoder.calls.size(), 1u);
  const Ids& ran = decoder.calls[0];
  ASSERT_EQ(ran.size(), 64u);
  EXPECT_EQ(Ids(ran.begin(), ran.begin() + 5), (Ids{0, 1, 2, 3, 40}));
  EXPECT_EQ(ran.back(), 99);
}

TEST(Generator, GoesOnRollingWhenAPromptOnlyAddsToWhatRolled) {
  ScriptedDecoder decoder([](std::int64_t) { return 'y'; }, 64);
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  auto options = greedy(100);
  options.overflow = ContextOverflow::roll;
  options.prefill_chunk = 16;
  auto prompt = ids_of("question");
  const auto first = generator.run(prompt, options, {});
  prompt.insert(prompt.end(), first.tokens.begin(), first.tokens.end());
  prompt.push_back('?');
  const auto second = generator.run(prompt, options, {});
  EXPECT_EQ(second.stats.dropped_tokens, 0);
  EXPECT_EQ(second.stats.cached_tokens, 107);
}

TEST(Generator, RunsAWholePromptThroughASmallCache) {
  ScriptedDecoder decoder([](std::int64_t) { return 'y'; }, 64);
  auto options = greedy(10);
  options.max_kv_tokens = 32;
  options.prefill_chunk = 16;
  const auto told = tell(decoder, options, Ids(100, 'a'));
  EXPECT_EQ(told.result.tokens.size(), 10u);
  EXPECT_EQ(told.result.stats.dropped_tokens, 0);
  std::size_t ran = 0;
  for (const Ids& call : decoder.calls) {
    ran += call.size();
  }
  EXPECT_EQ(ran, 109u);
}

TEST(Generator, StreamsTenThousandTokensInConstantMemory) {
  ScriptedDecoder decoder([](std::int64_t) { return 'y'; });
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  auto options = greedy(10000);
  options.max_kv_tokens = 256;
  options.prefill_chunk = 32;
  int count = 0;
  std::size_t early_cache = 0, early_active = 0, most_active = 0;
  const auto result =
      generator.run(ids_of("Hi"), options, [&](std::string_view) {
        if (++count == 500) {
          early_cache = decoder.last_cache_bytes;
          early_active = mx::get_active_memory();
        }
        most_active = std::max(most_active, mx::get_active_memory());
        decoder.calls.clear();
      });
  EXPECT_EQ(result.tokens.size(), 10000u);
  EXPECT_EQ(decoder.last_cache_bytes, early_cache);
  // A row of logits more or less may be alive.
  EXPECT_LE(most_active, early_active + 64 * 1024);
}

TEST(Generator, GivesOneLogprobForEachToken) {
  auto options = greedy();
  options.sampling.top_logprobs = 3;
  const auto told = tell("Good", options);
  ASSERT_EQ(told.result.logprobs.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    const SampledToken& sample = told.result.logprobs[i];
    EXPECT_EQ(sample.token, told.result.tokens[i]);
    ASSERT_EQ(sample.top.size(), 3u);
    EXPECT_EQ(sample.top[0].token, sample.token);
    EXPECT_LE(sample.logprob, 0.0f);
    EXPECT_GT(sample.logprob, sample.top[1].logprob);
  }
}

TEST(Generator, GivesTheSameTextForTheSameSeed) {
  auto options = greedy(60);
  options.sampling.temperature = 1.0f;
  options.ignore_eos = true;
  const auto told = [&](std::uint64_t seed) {
    ScriptedDecoder decoder([](std::int64_t) { return 'y'; });
    decoder.peak = 2.0f;
    options.sampling.seed = seed;
    return tell(decoder, options).result;
  };
  EXPECT_EQ(told(1).tokens, told(1).tokens);
  EXPECT_NE(told(1).tokens, told(2).tokens);
  EXPECT_EQ(told(1).seed, 1u);
}

TEST(Generator, PenalisesWhatThePromptSaid) {
  auto options = greedy(1);
  options.sampling.presence_penalty = 50.0f;
  ScriptedDecoder decoder([](std::int64_t) { return 'H'; });
  EXPECT_NE(tell(decoder, options).result.tokens, ids_of("H"));
}

TEST(Generator, BreaksDryRunsAtTheBreakersOfTheTokenizer) {
  auto options = greedy(3);
  options.sampling.dry.multiplier = 50.0f;
  const Ids prompt = ids_of("abc:abc:ab");
  const auto decoder = [] {
    return ScriptedDecoder(
        [](std::int64_t position) { return "c:a"[(position - 10) % 3]; });
  };
  auto without = decoder();
  options.sampling.dry.sequence_breakers = {};
  EXPECT_NE(tell(without, options, prompt).result.tokens[0], 'c');
  auto with = decoder();
  options.sampling.dry.sequence_breakers = {"b"};
  EXPECT_EQ(tell(with, options, prompt).result.tokens[0], 'c');
}

TEST(Generator, RefusesImpossiblePromptsAndOptions) {
  ScriptedDecoder decoder(says("x", 2));
  EXPECT_THROW(tell(decoder, greedy(), {}), UserError);
  EXPECT_THROW(tell(decoder, greedy(), {fakes::kVocab}), UserError);
  EXPECT_THROW(tell(decoder, greedy(), {-1}), UserError);
  const auto refuses = [&](auto change) {
    auto options = greedy();
    change(options);
    EXPECT_THROW(tell(decoder, options), UserError);
  };
  refuses([](auto& o) { o.max_tokens = -1; });
  refuses([](auto& o) { o.min_tokens = -1; });
  refuses([](auto& o) { o.min_tokens = o.max_tokens + 1; });
  refuses([](auto& o) { o.prefill_chunk = 0; });
  refuses([](auto& o) { o.max_kv_tokens = 4; });
  refuses([](auto& o) { o.stop = {""}; });
  refuses([](auto& o) { o.sampling.top_p = 2.0f; });
  refuses([](auto& o) { o.sampling.logit_bias = {{fakes::kVocab, 1.0f}}; });
  EXPECT_TRUE(decoder.calls.empty());
}

TEST(Generator, IsUsableAfterTheDecoderThrew) {
  ScriptedDecoder decoder(says("fine", 2));
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  decoder.on_forward = [] { throw std::runtime_error("no memory"); };
  EXPECT_THROW(generator.run(ids_of("Hi"), greedy(), {}), std::runtime_error);
  decoder.on_forward = {};
  EXPECT_EQ(generator.run(ids_of("Hi"), greedy(), {}).text, "fine");
}

TEST(GenerateStats, GiveSpeedsOfWhatWasRun) {
  GenerateStats stats;
  EXPECT_EQ(stats.prefill_tokens_per_second(), 0.0);
  EXPECT_EQ(stats.decode_tokens_per_second(), 0.0);
  stats.prompt_tokens = 100;
  stats.cached_tokens = 40;
  stats.dropped_tokens = 10;
  stats.prefill_seconds = 0.5;
  stats.generated_tokens = 11;
  stats.decode_seconds = 2.0;
  EXPECT_DOUBLE_EQ(stats.prefill_tokens_per_second(), 100.0);
  EXPECT_DOUBLE_EQ(stats.decode_tokens_per_second(), 5.0);
}

}  // namespace
}  // namespace roofline
