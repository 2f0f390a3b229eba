#include "roofline/plan/roof.h"

#include <gtest/gtest.h>

#include "decode/fakes.h"

namespace roofline {
namespace {

ModelSpec two_layers() {
  ModelSpec spec;
  LayerSpec full;
  full.attention->kv_heads = 2;
  full.attention->head_dim = 64;
  LayerSpec windowed = full;
  windowed.attention->window_tokens = 100;
  spec.layers = {full, windowed};
  return spec;
}

TEST(KvBytes, CountKeysAndValuesOfEveryLayer) {
  // 2 heads × 64 values × (keys + values) × 2 bytes = 512 a token and layer.
  EXPECT_EQ(kv_bytes_at(two_layers(), 10), 2u * 10 * 512);
  EXPECT_EQ(kv_bytes_at(two_layers(), 10, 4), 2u * 10 * 1024);
  EXPECT_EQ(kv_bytes_at(two_layers(), 0), 0u);
}

TEST(KvBytes, StopGrowingAtTheWindowAndAtTheCache) {
  EXPECT_EQ(kv_bytes_at(two_layers(), 1000), (1000u + 100) * 512);
  EXPECT_EQ(kv_bytes_at(two_layers(), 1000, 2, 300), (300u + 100) * 512);
  EXPECT_EQ(kv_bytes_at(two_layers(), 1000, 2, 50), (50u + 50) * 512);
}

TEST(KvBytes, OfCodesAreFewer) {
  const KvFormat codes = {8, 4, 64, 0};
  // 2 heads × (64 + 4 + 32 + 4) bytes.
  EXPECT_EQ(
      kv_bytes_at(two_layers(), 1000, 2, std::nullopt, codes),
      (1000u + 100) * 208);
}

TEST(Roof, IsBandwidthOverBytes) {
  EXPECT_DOUBLE_EQ(roof_tokens_per_second({80, 20}, 1000), 10.0);
  EXPECT_EQ(roof_tokens_per_second({}, 1000), 0.0);
  EXPECT_EQ(roof_tokens_per_second({80, 20}, 0), 0.0);
}

TruthLine some_line() {
  TruthLine line;
  line.load_seconds = 0.25;
  line.first_token_seconds = 1.5;
  line.prefill_tokens_per_second = 1234.4;
  line.decode_tokens_per_second = 45.67;
  line.peak_bytes = 187'000'000;
  line.step = {90'000'000, 10'000'000};
  line.bandwidth = 10e9;
  line.device = "CPU, avx2, 2 threads";
  return line;
}

TEST(TruthLine, SaysEveryFigureInOneLine) {
  const std::string text = some_line().text();
  for (const char* part :
       {"load 250 ms",
        "first token 1.50 s",
        "prefill 1234 tok/s",
        "decode 45.7 tok/s",
        "peak 187 MB",
        "46 % of the roof (100 tok/s at 10.0 GB/s)",
        "CPU, avx2, 2 threads"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(TruthLine, SaysTheRoofButNoShareWhenNothingWasDecoded) {
  TruthLine line = some_line();
  line.decode_tokens_per_second = 0;
  EXPECT_FALSE(line.share_of_roof());
  EXPECT_EQ(line.text().find("of the roof"), std::string::npos);
  EXPECT_NE(line.text().find("roof 100 tok/s"), std::string::npos);
  EXPECT_TRUE(line.json()["share_of_roof"].is_null());
}

TEST(TruthLine, SaysADashForWhatNeverHappened) {
  TruthLine line = some_line();
  line.first_token_seconds = 0;
  line.prefill_tokens_per_second = 0;
  EXPECT_NE(line.text().find("first token – · prefill – ·"), std::string::npos);
}

TEST(TruthLine, GivesTheSameFiguresAsJson) {
  const auto json = some_line().json();
  EXPECT_DOUBLE_EQ(json["load_seconds"], 0.25);
  EXPECT_DOUBLE_EQ(json["first_token_seconds"], 1.5);
  EXPECT_DOUBLE_EQ(json["prefill_tokens_per_second"], 1234.4);
  EXPECT_DOUBLE_EQ(json["decode_tokens_per_second"], 45.67);
  EXPECT_EQ(json["peak_memory_bytes"], 187'000'000);
  EXPECT_EQ(json["step_bytes"], 100'000'000);
  EXPECT_DOUBLE_EQ(json["roof_tokens_per_second"], 100.0);
  EXPECT_DOUBLE_EQ(json["share_of_roof"], 0.4567);
  EXPECT_EQ(json["device"], "CPU, avx2, 2 threads");
}

TEST(TruthLine, SaysWhatLoadingLost) {
  TruthLine line = some_line();
  EXPECT_EQ(line.text().find("again"), std::string::npos);
  EXPECT_FALSE(line.json().contains("requantized"));
  line.requantized = RequantizationLoss{14, 0.0042};
  EXPECT_NE(
      line.text().find("14 matrices quantized again, error 0.42 %"),
      std::string::npos)
      << line.text();
  EXPECT_EQ(line.json()["requantized"]["matrices"], 14);
}

TEST(TruthLine, SaysThatADraftModelNeverGuessed) {
  TruthLine line = some_line();
  EXPECT_EQ(line.text().find("drafted"), std::string::npos);
  line.has_draft = true;
  EXPECT_NE(line.text().find(" · drafted 0 · "), std::string::npos);
  EXPECT_EQ(line.json()["drafted_tokens"], 0);
}

TEST(TruthLine, SaysWhatWasLookedUpAndRaisesTheRoofByIt) {
  EXPECT_EQ(some_line().text().find("looked up"), std::string::npos);
  EXPECT_FALSE(some_line().json().contains("proposed_tokens"));
  TruthLine line = some_line();
  line.proposed_tokens = 30;
  line.accepted_tokens = 20;
  line.tokens_per_step = 1.5;
  EXPECT_NE(
      line.text().find("looked up 30, 20 right · 30 % of the roof (150 tok/s"),
      std::string::npos)
      << line.text();
  EXPECT_EQ(line.json()["accepted_tokens"], 20);
  EXPECT_DOUBLE_EQ(line.json()["roof_tokens_per_second"], 150.0);
}

TEST(MakeTruthLine, CountsTheTokensOfAStep) {
  fakes::ScriptedDecoder decoder([](std::int64_t) { return 0; });
  GenerateStats stats;
  stats.generated_tokens = 61;
  EXPECT_DOUBLE_EQ(make_truth_line(decoder, stats, 0).tokens_per_step, 1.0);
  stats.proposed_tokens = 50;
  stats.accepted_tokens = 40;
  EXPECT_DOUBLE_EQ(make_truth_line(decoder, stats, 0).tokens_per_step, 3.0);
}

TEST(MakeTruthLine, CountsTheCacheAtTheMiddleOfTheAnswer) {
  fakes::ScriptedDecoder decoder([](std::int64_t) { return 0; });
  GenerateStats stats;
  stats.prompt_tokens = 100;
  stats.generated_tokens = 40;
  stats.decode_seconds = 3.9;
  const auto line = make_truth_line(decoder, stats, 0.5);
  EXPECT_EQ(line.step.weights, decoder.step_weight_bytes());
  // One layer, one head of 8 dims, float16.
  EXPECT_EQ(line.step.kv, 120u * 8 * 2 * 2);
  EXPECT_DOUBLE_EQ(line.decode_tokens_per_second, 10.0);
  EXPECT_EQ(line.load_seconds, 0.5);
  EXPECT_EQ(line.device, "a script");
  EXPECT_GT(line.peak_bytes, 1'000'000u);
}

}  // namespace
}  // namespace roofline
