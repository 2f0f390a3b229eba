#include "roofline/cli/bench_peers.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "roofline/base/errors.h"
#include "roofline/cli/peer_model.h"

namespace roofline::cli {
namespace {

TEST(ParseLlamaBench, TakesTheAverage) {
  EXPECT_EQ(
      parse_llama_bench(R"([{"n_prompt": 512, "avg_ts": 236.5}])"),
      236.5);
}

TEST(ParseLlamaBench, RefusesWhatIsNoFigure) {
  for (const char* text :
       {"", "error: no such model", "[]", "[{}]", R"([{"avg_ts": 0}])"}) {
    EXPECT_THROW(parse_llama_bench(text), UserError) << text;
  }
}

TEST(ParseBatchedBench, TakesThePhaseOutOfTheLinesThatAreNotItsOwn) {
  const char* text =
      "llama_kv_cache: size = 1.00 MiB\n"
      "{\"pp\": 16, \"speed_pp\": 80.5, \"speed_tg\": 40.25}\n";
  EXPECT_EQ(parse_batched_bench(text, BenchPhase::prefill), 80.5);
  EXPECT_EQ(parse_batched_bench(text, BenchPhase::decode), 40.25);
  EXPECT_THROW(parse_batched_bench("error\n", BenchPhase::decode), UserError);
}

TEST(ParseMlxBenchmark, TakesTheAveragesNotATrial) {
  const char* text =
      "Timing with prompt_tokens=512, generation_tokens=128\n"
      "Trial 1:  prompt_tps=1.000, generation_tps=2.000, peak_memory=0.5\n"
      "Averages: prompt_tps=8.000, generation_tps=5.900, peak_memory=0.5\n";
  EXPECT_EQ(parse_mlx_benchmark(text, BenchPhase::prefill), 8.0);
  EXPECT_EQ(parse_mlx_benchmark(text, BenchPhase::decode), 5.9);
  EXPECT_THROW(parse_mlx_benchmark("Trial 1", BenchPhase::decode), UserError);
}

TEST(MakePeer, RefusesWhatAPeerCannotRun) {
  EXPECT_THROW(make_peer("llama.cpp", ".", 1, "/bin/true"), UserError);
  EXPECT_THROW(make_peer("mlx-lm", "model.gguf", 1, "/bin/true"), UserError);
  EXPECT_THROW(make_peer("ollama", "model.gguf", 1, ""), UserError);
  EXPECT_THROW(
      make_peer("llama.cpp", "model.gguf", 1, "no-such-program-here"),
      UserError);
}

TEST(MakePeer, AFolderStandsForTheProgramInIt) {
  const auto folder = std::filesystem::temp_directory_path() /
                      fmt::format("roofline-peer-test-{}", ::getpid());
  std::filesystem::create_directories(folder);
  EXPECT_THROW(peer_program("llama.cpp", folder.string()), UserError);
  const auto program = folder / "llama-bench";
  std::ofstream(program) << "#!/bin/sh\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  EXPECT_EQ(peer_program("llama.cpp", folder.string()), program.string());
  std::filesystem::remove_all(folder);
}

PlannedModel stored_as(const std::string& format, std::uint64_t bytes) {
  PlannedModel model;
  // Embeddings have other types than most: they don't count.
  model.tensors = {
      {"embed", 64, 64, "q8_0", 64 * 68, true},
      {"layers.0.attention.q", 128, 64, format, bytes, true}};
  return model;
}

TEST(PeerForm, IsThatOfMostWeights) {
  EXPECT_EQ(peer_form(stored_as("q4_1", 8192 * 5 / 8)).gguf_type, "q4_1");
  EXPECT_EQ(peer_form(stored_as("q4_0", 8192 * 9 / 16)).bits, 4);
  EXPECT_EQ(peer_form(stored_as("q8_0", 8192 * 17 / 16)).bits, 8);
  EXPECT_EQ(peer_form(stored_as("bf16", 8192 * 2)).bits, 16);
}

}  // namespace
}  // namespace roofline::cli
