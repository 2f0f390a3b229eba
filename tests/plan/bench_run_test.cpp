#include "roofline/plan/bench_run.h"

#include <gtest/gtest.h>

#include "decode/fakes.h"

namespace roofline {
namespace {

using fakes::ScriptedDecoder;

ScriptedDecoder always(std::int32_t token) {
  return ScriptedDecoder([token](std::int64_t) { return token; });
}

TEST(BenchRun, RunsAPromptInSteps) {
  auto decoder = always('y');
  BenchRun run(decoder, 8);
  EXPECT_GT(run.measure({BenchPhase::prefill, 10, 0, 1}).seconds, 0.0);
  ASSERT_EQ(decoder.calls.size(), 2u);
  EXPECT_EQ(decoder.calls[0].size(), 8u);
  EXPECT_EQ(decoder.calls[1].size(), 2u);
}

TEST(BenchRun, DecodesWhatTheModelSays) {
  auto decoder = always('y');
  BenchRun run(decoder, 8);
  const auto sample = run.measure({BenchPhase::decode, 3, 0, 1});
  EXPECT_GE(sample.seconds, sample.host_seconds);
  ASSERT_EQ(decoder.calls.size(), 3u);
  EXPECT_EQ(decoder.calls[1], std::vector<std::int32_t>{'y'});
  EXPECT_EQ(decoder.calls[2], std::vector<std::int32_t>{'y'});
}

TEST(BenchRun, UsesIdsOfTheVocabularyAndTheSameInEveryRun) {
  auto decoder = always('y');
  BenchRun run(decoder, 512);
  run.measure({BenchPhase::prefill, 100, 0, 1});
  run.measure({BenchPhase::prefill, 100, 0, 1});
  ASSERT_EQ(decoder.calls.size(), 2u);
  for (const std::int32_t id : decoder.calls[0]) {
    EXPECT_GE(id, 0);
    EXPECT_LT(id, fakes::kVocab);
  }
  EXPECT_EQ(decoder.calls[0], decoder.calls[1]);
}

TEST(BenchRun, FillsTheCacheToTheDepthOnce) {
  auto decoder = always('y');
  BenchRun run(decoder, 512);
  run.measure({BenchPhase::decode, 2, 64, 1});
  ASSERT_EQ(decoder.calls.size(), 3u);
  EXPECT_EQ(decoder.calls[0].size(), 64u);
  // The next one only goes back to the depth.
  run.measure({BenchPhase::decode, 2, 64, 1});
  EXPECT_EQ(decoder.calls.size(), 5u);
}

TEST(JoulesBetween, NeedsBothAndNoWrapAround) {
  EXPECT_EQ(joules_between(1.0, 3.0), 2.0);
  EXPECT_FALSE(joules_between(3.0, 1.0));
  EXPECT_FALSE(joules_between(std::nullopt, 1.0));
  EXPECT_FALSE(joules_between(1.0, std::nullopt));
}

}  // namespace
}  // namespace roofline
