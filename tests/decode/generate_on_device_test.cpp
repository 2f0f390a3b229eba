// Answers whose tokens are drawn on the device, a step ahead of the host,
// against the same drawn by the host.
#include <limits>

#include <gtest/gtest.h>

#include "decode/fakes.h"
#include "model/golden.h"
#include "roofline/base/errors.h"
#include "roofline/decode/generate.h"

namespace roofline {
namespace {

using fakes::ByteTokenizer;
using fakes::ids_of;
using fakes::says;
using fakes::ScriptedDecoder;
using Ids = std::vector<std::int32_t>;

GenerateOptions ahead(int max_tokens = 100) {
  GenerateOptions options;
  options.sampling.temperature = 0.0f;
  options.max_tokens = max_tokens;
  options.draw_on_device = true;
  return options;
}

ScriptedDecoder lazy_decoder(const std::string& answer) {
  ScriptedDecoder decoder(says(answer, 2));
  decoder.lazy = true;
  return decoder;
}

GenerateResult answer_of(
    Decoder& decoder,
    const GenerateOptions& options,
    const std::atomic<bool>* cancel = nullptr) {
  const ByteTokenizer tokenizer;
  Generator generator(decoder, tokenizer);
  return generator.run(ids_of("Hi"), options, {}, cancel);
}

TEST(GenerateOnDevice, EndsAtAStopTokenOneStepLater) {
  auto decoder = lazy_decoder("Good day.");
  const auto result = answer_of(decoder, ahead());
  EXPECT_EQ(result.text, "Good day.");
  EXPECT_EQ(result.finish, FinishReason::stop_token);
  // The prompt, nine tokens, and the end's own step, begun before it was seen.
  EXPECT_EQ(decoder.calls.size(), 11U);
  decoder.calls.clear();
  auto by_host = ahead();
  by_host.draw_on_device = false;
  (void)answer_of(decoder, by_host);
  EXPECT_EQ(decoder.calls.size(), 10U);
}

TEST(GenerateOnDevice, RunsNoStepAfterTheLastToken) {
  auto decoder = lazy_decoder("Good day.");
  const auto result = answer_of(decoder, ahead(4));
  EXPECT_EQ(result.text, "Good");
  EXPECT_EQ(result.finish, FinishReason::length);
  EXPECT_EQ(decoder.calls.size(), 4U);
}

TEST(GenerateOnDevice, EndsAtAStopString) {
  auto decoder = lazy_decoder("Good day, sir");
  auto options = ahead();
  options.stop = {"day"};
  const auto result = answer_of(decoder, options);
  EXPECT_EQ(result.text, "Good ");
  EXPECT_EQ(result.finish, FinishReason::stop_string);
}

TEST(GenerateOnDevice, IsCancelledBetweenTokens) {
  auto decoder = lazy_decoder("Good day, sir");
  std::atomic<bool> cancel = false;
  decoder.on_forward = [&] { cancel = decoder.calls.size() == 4; };
  const auto result = answer_of(decoder, ahead(), &cancel);
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(result.text, "Goo");
}

TEST(GenerateOnDevice, TellsLogitsThatAreNoNumbers) {
  auto decoder = lazy_decoder("Good day");
  decoder.on_forward = [&] {
    if (decoder.calls.size() == 3) {
      decoder.peak = std::numeric_limits<float>::quiet_NaN();
    }
  };
  EXPECT_THROW((void)answer_of(decoder, ahead()), CheckpointError);
}

TEST(GenerateOnDevice, LeavesItToTheHostWhereADrawNeedsMore) {
  auto decoder = lazy_decoder("Good");
  auto options = ahead();
  options.sampling.top_logprobs = 2;
  const auto result = answer_of(decoder, options);
  EXPECT_EQ(result.text, "Good");
  EXPECT_EQ(result.logprobs.size(), 4U);
}

TEST(GenerateOnDevice, PenalisesInWindowsOfAnyLength) {
  for (const int window : {0, 1, 3, -1}) {
    auto decoder = lazy_decoder("aaabbbabab");
    auto options = ahead();
    options.sampling.repetition_penalty = 50.0f;
    options.sampling.penalty_window = window;
    const auto expected = [&] {
      auto by_host = options;
      by_host.draw_on_device = false;
      return answer_of(decoder, by_host).tokens;
    }();
    EXPECT_EQ(answer_of(decoder, options).tokens, expected) << window;
  }
}

TEST(GenerateOnDevice, DrawsNoEndBeforeItMay) {
  auto decoder = lazy_decoder("Hi");
  auto options = ahead(6);
  options.min_tokens = 4;
  auto by_host = options;
  by_host.draw_on_device = false;
  const auto expected = answer_of(decoder, by_host).tokens;
  EXPECT_GE(expected.size(), 4U);
  EXPECT_EQ(answer_of(decoder, options).tokens, expected);
}

TEST(GenerateOnDevice, RollsAsTheHostDoes) {
  auto decoder = lazy_decoder(std::string(200, 'a') + "b");
  auto options = ahead(250);
  options.max_kv_tokens = 40;
  options.prefill_chunk = 16;
  const auto result = answer_of(decoder, options);
  EXPECT_EQ(result.tokens.size(), 201U);
  EXPECT_EQ(result.finish, FinishReason::stop_token);
}

/// Two turns of one conversation, the second on top of the first.
std::vector<Ids> two_turns(
    const testing::Golden& golden,
    GenerateOptions options,
    bool on_device) {
  ModelOptions model;
  model.device = DeviceChoice::cpu;
  model.graph_on_cpu = true;
  model.exact = true;
  const auto decoder = Decoder::load(*golden.checkpoint, model);
  const ByteTokenizer tokenizer;
  Generator generator(*decoder, tokenizer);
  options.draw_on_device = on_device;
  Ids prompt(golden.greedy.begin(), golden.greedy.begin() + 12);
  const auto first = generator.run(prompt, options, {});
  prompt.insert(prompt.end(), first.tokens.begin(), first.tokens.end());
  prompt.push_back(prompt[0]);
  return {first.tokens, generator.run(prompt, options, {}).tokens};
}

class GenerateOnDeviceGolden : public ::testing::TestWithParam<std::string> {};

/// Windows that wrap, recurrent states and rope regimes that end, among them.
TEST_P(GenerateOnDeviceGolden, SaysWhatTheHostDraws) {
  const auto golden = testing::open_golden(GetParam());
  auto options = ahead(24);
  options.prefill_chunk = 12;
  options.sampling.temperature = 0.5f;
  options.sampling.top_k = 5;
  options.sampling.repetition_penalty = 1.1f;
  options.sampling.seed = 5;
  // Ends at a stop token too, where a step is taken back.
  const auto expected = two_turns(golden, options, false);
  EXPECT_EQ(two_turns(golden, options, true), expected);
  options.stop_tokens = {expected[0][9]};
  EXPECT_EQ(
      two_turns(golden, options, true),
      two_turns(golden, options, false));
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    GenerateOnDeviceGolden,
    ::testing::Values(
        "deepseek_v2",
        "gemma2",
        "gpt_oss",
        "mamba2",
        "mistral_window",
        "phi3_longrope",
        "qwen3_next"),
    [](const auto& info) { return info.param; });

}  // namespace
}  // namespace roofline
