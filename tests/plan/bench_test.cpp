#include "roofline/plan/bench.h"

#include <gtest/gtest.h>

#include "decode/fakes.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using fakes::ScriptedDecoder;

ScriptedDecoder always(std::int32_t token) {
  return ScriptedDecoder([token](std::int64_t) { return token; });
}

BenchOptions small() {
  BenchOptions options;
  options.prompt_tokens = 10;
  options.decode_tokens = 3;
  options.rounds = 2;
  options.prefill_chunk = 8;
  return options;
}

TEST(Bench, RunsAWarmUpAndThenTheRounds) {
  auto decoder = always('y');
  const auto result = run_bench(decoder, small(), {});
  EXPECT_EQ(result.prefill.samples.size(), 2u);
  EXPECT_EQ(result.decode.samples.size(), 2u);
  for (const double sample : result.decode.samples) {
    EXPECT_GT(sample, 0.0);
  }
  // Three times: two chunks of the prompt, then three tokens.
  ASSERT_EQ(decoder.calls.size(), 15u);
  EXPECT_EQ(decoder.calls[0].size(), 8u);
  EXPECT_EQ(decoder.calls[1].size(), 2u);
  EXPECT_EQ(decoder.calls[2].size(), 1u);
}

TEST(Bench, DecodesWhatTheModelSays) {
  auto decoder = always('y');
  run_bench(decoder, small(), {});
  EXPECT_EQ(decoder.calls[3], std::vector<std::int32_t>{'y'});
  EXPECT_EQ(decoder.calls[4], std::vector<std::int32_t>{'y'});
}

TEST(Bench, UsesIdsOfTheVocabularyAndTheSameInEveryRound) {
  auto decoder = always('y');
  run_bench(decoder, small(), {});
  for (const auto& call : decoder.calls) {
    for (const std::int32_t id : call) {
      EXPECT_GE(id, 0);
      EXPECT_LT(id, fakes::kVocab);
    }
  }
  EXPECT_EQ(decoder.calls[0], decoder.calls[5]);
}

TEST(Bench, LeavesOutWhatIsNotAskedFor) {
  auto decoder = always('y');
  auto options = small();
  options.prompt_tokens = 0;
  auto result = run_bench(decoder, options, {});
  EXPECT_TRUE(result.prefill.samples.empty());
  EXPECT_EQ(result.json()["prefill_tokens_per_second"], 0.0);
  options = small();
  options.decode_tokens = 0;
  result = run_bench(decoder, options, {});
  EXPECT_TRUE(result.decode.samples.empty());
  EXPECT_FALSE(result.share_of_roof());
}

TEST(Bench, StopsBetweenRoundsWhenAsked) {
  auto decoder = always('y');
  int calls = 0;
  const auto result =
      run_bench(decoder, small(), {}, [&] { return ++calls == 3; });
  EXPECT_EQ(result.decode.samples.size(), 1u);
}

TEST(BenchSeries, GivesMedianAndSpread) {
  EXPECT_EQ((BenchSeries{{3, 1, 2}}).median(), 2.0);
  EXPECT_EQ((BenchSeries{{4, 1, 2, 3}}).median(), 2.5);
  EXPECT_EQ((BenchSeries{{4, 1, 2, 3}}).smallest(), 1.0);
  EXPECT_EQ((BenchSeries{{4, 1, 2, 3}}).largest(), 4.0);
  EXPECT_EQ(BenchSeries{}.median(), 0.0);
}

BenchResult some_result() {
  BenchResult result;
  result.prefill.samples = {1000, 1200, 1100};
  result.decode.samples = {40, 50, 60};
  result.step = {100'000'000, 0};
  result.bandwidth = 10e9;
  result.peak_bytes = 150'000'000;
  result.device = "a script";
  return result;
}

TEST(BenchResult, GivesMediansSamplesAndTheShareOfTheRoof) {
  const auto json = some_result().json();
  EXPECT_EQ(json["prefill_tokens_per_second"], 1100.0);
  EXPECT_EQ(json["decode_tokens_per_second"], 50.0);
  EXPECT_EQ(json["prefill"]["samples"].size(), 3u);
  EXPECT_EQ(json["decode"]["min"], 40.0);
  EXPECT_EQ(json["decode"]["max"], 60.0);
  EXPECT_EQ(json["rounds"], 3);
  EXPECT_DOUBLE_EQ(json["share_of_roof"], 0.5);
}

TEST(BenchResult, SaysTheSameForPeople) {
  const auto text = some_result().text();
  for (const char* part : {"1100.0 tok/s", "50.0 tok/s", "50 % of the roof"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

TEST(Bench, RefusesImpossibleOptions) {
  auto decoder = always('y');
  const auto refuses = [&](auto change) {
    auto options = small();
    change(options);
    EXPECT_THROW(run_bench(decoder, options, {}), UserError);
  };
  refuses([](auto& o) { o.prompt_tokens = -1; });
  refuses([](auto& o) { o.decode_tokens = -1; });
  refuses([](auto& o) { o.rounds = 0; });
  refuses([](auto& o) { o.prefill_chunk = 0; });
  EXPECT_TRUE(decoder.calls.empty());
}

}  // namespace
}  // namespace roofline
