#include "roofline/cli/bench_peers.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"

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

}  // namespace
}  // namespace roofline::cli
