#include "roofline/plan/bench.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

BenchFigure decoded(std::vector<double> seconds, int tokens = 100) {
  BenchFigure figure;
  figure.what = {BenchPhase::decode, tokens, 0, 1};
  for (const double value : seconds) {
    figure.samples.push_back({value, 0, std::nullopt});
  }
  return figure;
}

TEST(BenchCases, AreEveryCombinationPrefillBeforeDecode) {
  BenchOptions options;
  options.prompt_tokens = {512, 2048};
  options.decode_tokens = {128};
  options.depths = {0, 4096};
  options.batches = {1, 4};
  std::vector<std::string> names;
  for (const BenchCase& what : bench_cases(options)) {
    names.push_back(what.name());
  }
  const std::vector<std::string> wanted = {
      "pp512",
      "pp2048",
      "tg128",
      "pp512 @ 4096",
      "pp2048 @ 4096",
      "tg128 @ 4096",
      "pp512 × 4",
      "pp2048 × 4",
      "tg128 × 4",
      "pp512 @ 4096 × 4",
      "pp2048 @ 4096 × 4",
      "tg128 @ 4096 × 4"};
  EXPECT_EQ(names, wanted);
}

TEST(BenchCases, ZeroLeavesAPhaseOut) {
  BenchOptions options;
  options.prompt_tokens = {0};
  ASSERT_EQ(bench_cases(options).size(), 1u);
  EXPECT_EQ(bench_cases(options)[0].phase, BenchPhase::decode);
}

TEST(BenchCases, RefusesWhatCannotBeMeasured) {
  const auto refuses = [](auto change) {
    BenchOptions options;
    change(options);
    EXPECT_THROW(validate(options), UserError);
  };
  EXPECT_NO_THROW(validate(BenchOptions()));
  refuses([](auto& o) { o.prompt_tokens = {-1}; });
  refuses([](auto& o) { o.prompt_tokens = {}; });
  refuses([](auto& o) { o.decode_tokens = {8, -1}; });
  refuses([](auto& o) { o.depths = {-1}; });
  refuses([](auto& o) { o.batches = {0}; });
  refuses([](auto& o) { o.rounds = 0; });
  refuses([](auto& o) { o.prefill_step = 0; });
  refuses([](auto& o) { o.prompt_tokens = o.decode_tokens = {0}; });
}

TEST(BenchFigure, GivesMedianTailAndSpread) {
  const auto figure = decoded({1, 2, 4});
  EXPECT_EQ(figure.speed(), 50.0);
  EXPECT_EQ(figure.speeds(), (std::vector<double>{100, 50, 25}));
  EXPECT_NEAR(figure.slow_tail(), 27.5, 1e-9);
  EXPECT_EQ(figure.spread(), 0.5);
  EXPECT_FALSE(figure.roof());
  EXPECT_FALSE(figure.share_of_roof());
  EXPECT_FALSE(figure.joules_per_token());
}

TEST(BenchFigure, CountsTheTokensOfAllSequences) {
  auto figure = decoded({2});
  figure.what.batch = 4;
  EXPECT_EQ(figure.speed(), 200.0);
}

TEST(BenchFigure, TellsWhatTheFirstRunTookMore) {
  auto figure = decoded({1, 1, 2});
  figure.first_seconds = 4;
  EXPECT_EQ(figure.warm_up_seconds(), 3.0);
  figure.first_seconds = 0.5;
  EXPECT_EQ(figure.warm_up_seconds(), 0.0);
}

TEST(BenchFigure, GivesJoulesATokenWhereTheyAreKnown) {
  auto figure = decoded({1, 1});
  figure.samples[0].joules = 50;
  EXPECT_EQ(figure.joules_per_token(), 0.5);
}

BenchRates slow_memory() {
  BenchRates rates;
  rates.bytes_per_second = 10e9;
  rates.operations_per_second = 100e12;
  rates.step_weight_bytes = rates.batch_weight_bytes = 1e9;
  return rates;
}

TEST(SetRoof, OfDecodeIsTheBytesOfEachStep) {
  auto figure = decoded({20}, 100);
  set_roof(figure, plan_model("llama-2-7b"), slow_memory(), 512);
  // 100 steps of 1 GB at 10 GB/s, and a little KV.
  EXPECT_NEAR(figure.roof_seconds, 10, 0.5);
  EXPECT_GT(figure.roof_seconds, 10);
  EXPECT_NEAR(*figure.share_of_roof(), 0.5, 0.03);
}

TEST(SetRoof, OfPrefillIsItsArithmeticWhenThatTakesLonger) {
  const PlannedModel model = plan_model("llama-2-7b");
  BenchFigure figure;
  figure.what = {BenchPhase::prefill, 1024, 0, 1};
  BenchRates rates = slow_memory();
  set_roof(figure, model, rates, 512);
  EXPECT_NEAR(figure.roof_seconds, 0.2, 0.05);  // two steps' bytes
  rates.operations_per_second = 1e12;
  set_roof(figure, model, rates, 512);
  // 2 · 6.7e9 operations a token.
  EXPECT_NEAR(figure.roof_seconds, 1024 * 2 * 6.7e9 / 1e12, 1.0);
}

TEST(SetRoof, BesideTheRunsTakesWhatMemoryGaveThen) {
  auto figure = decoded({40, 40}, 100);
  set_roof(figure, plan_model("llama-2-7b"), slow_memory(), 512);
  EXPECT_FALSE(figure.share_of_roof_beside());
  figure.samples[0].bytes_per_second = 4e9;
  figure.samples[1].bytes_per_second = 6e9;
  set_roof(figure, plan_model("llama-2-7b"), slow_memory(), 512);
  EXPECT_EQ(figure.bandwidth_beside(), 5e9);
  EXPECT_NEAR(*figure.share_of_roof(), 0.25, 0.02);
  EXPECT_NEAR(
      *figure.share_of_roof_beside(),
      *figure.share_of_roof() * 2,
      1e-9);
}

TEST(SetRoof, IsUnknownWithoutRates) {
  auto figure = decoded({1});
  set_roof(figure, plan_model("llama-2-7b"), {}, 512);
  EXPECT_FALSE(figure.roof());
}

TEST(TimeShares, AddUpToTheWholeTime) {
  const BenchRates rates = slow_memory();
  auto figure = decoded({20, 20, 20}, 100);
  for (BenchSample& sample : figure.samples) {
    sample.host_seconds = 2;
  }
  set_roof(figure, plan_model("llama-2-7b"), rates, 512);
  const TimeShares shares = time_shares(figure, rates);
  EXPECT_NEAR(shares.weights, 0.5, 1e-6);
  EXPECT_NEAR(shares.host, 0.1, 1e-6);
  EXPECT_GT(shares.kv, 0.0);
  EXPECT_NEAR(
      shares.weights + shares.kv + shares.arithmetic + shares.host +
          shares.rest,
      1.0,
      1e-6);
}

TEST(FigureJson, ReadsBackWhatComparingNeeds) {
  auto figure = decoded({1, 2, 4}, 128);
  figure.what.depth = 4096;
  figure.what.batch = 2;
  figure.engine = "llama.cpp";
  figure.setup = "2 threads";
  const auto json = figure_json(figure, {});
  const BenchFigure back = figure_from_json(json);
  EXPECT_EQ(back.what.name(), figure.what.name());
  EXPECT_EQ(back.engine, figure.engine);
  EXPECT_EQ(back.setup, figure.setup);
  EXPECT_EQ(back.speed(), figure.speed());
  EXPECT_TRUE(json["roof_tokens_per_second"].is_null());
  EXPECT_THROW(figure_from_json({{"engine", "roofline"}}), UserError);
}

}  // namespace
}  // namespace roofline
