#include "roofline/plan/traced_run.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "decode/fakes.h"
#include "roofline/base/errors.h"
#include "roofline/plan/trace.h"

namespace roofline {
namespace {

bool go_on(std::int32_t) {
  return true;
}

int count_of(const MemoryTrace& trace, const std::string& name) {
  return static_cast<int>(std::count_if(
      trace.spans.begin(),
      trace.spans.end(),
      [&](const TraceSpan& span) { return span.name == name; }));
}

TEST(TracedRun, SaysTheLikeliestTokensUntilTheEnd) {
  fakes::ScriptedDecoder decoder(fakes::says("abc", 4));
  const TracedRun run = run_traced(decoder, fakes::ids_of("1234"), {}, go_on);
  EXPECT_EQ(run.tokens, fakes::ids_of("abc"));
  EXPECT_TRUE(run.stopped);
  EXPECT_FALSE(run.interrupted);
  EXPECT_EQ(run.steps, 3);
  EXPECT_EQ(run.prompt_tokens, 4);
  EXPECT_GT(run.kv_bytes, 0u);
}

TEST(TracedRun, EachChunkAndStepHasItsSpan) {
  fakes::ScriptedDecoder decoder(fakes::says("abcdef", 5));
  TracedRunOptions options;
  options.prefill_step = 2;
  options.max_tokens = 4;
  enable_memory_trace();
  const TracedRun run =
      run_traced(decoder, fakes::ids_of("12345"), options, go_on);
  const MemoryTrace trace = get_memory_trace();
  EXPECT_EQ(run.tokens, fakes::ids_of("abcd"));
  EXPECT_EQ(run.steps, 3);
  EXPECT_EQ(count_of(trace, "prefill"), 3);
  EXPECT_EQ(count_of(trace, "decode"), 3);
  EXPECT_EQ(count_of(trace, "argmax"), 4);
}

TEST(TracedRun, TheCallerEndsIt) {
  fakes::ScriptedDecoder decoder(fakes::says("abcdef", 1));
  int seen = 0;
  const TracedRun run =
      run_traced(decoder, fakes::ids_of("1"), {}, [&](std::int32_t) {
        return ++seen < 2;
      });
  EXPECT_EQ(run.tokens, fakes::ids_of("ab"));
  EXPECT_TRUE(run.interrupted);
  EXPECT_FALSE(run.stopped);
  EXPECT_EQ(run.steps, 1);
}

TEST(TracedRun, EndTokensMayBeIgnored) {
  fakes::ScriptedDecoder decoder(fakes::says("a", 1));
  TracedRunOptions options;
  options.max_tokens = 3;
  options.ignore_eos = true;
  const TracedRun run = run_traced(decoder, fakes::ids_of("1"), options, go_on);
  EXPECT_EQ(run.tokens.size(), 3u);
  EXPECT_FALSE(run.stopped);
}

TEST(TracedRun, EndsWhereTheContextDoes) {
  fakes::ScriptedDecoder decoder(fakes::says("abcdefghij", 4), 6);
  const TracedRun run = run_traced(decoder, fakes::ids_of("1234"), {}, go_on);
  EXPECT_EQ(run.tokens, fakes::ids_of("ab"));
  EXPECT_THROW(
      run_traced(decoder, fakes::ids_of("1234567"), {}, go_on),
      UserError);
}

TEST(TracedRun, ADecoderWithoutOperationsHasNone) {
  fakes::ScriptedDecoder decoder(fakes::says("ab", 1));
  const TracedRun run = run_traced(decoder, fakes::ids_of("1"), {}, go_on);
  EXPECT_FALSE(run.prefill_ops);
  EXPECT_FALSE(run.decode_ops);
  EXPECT_EQ(OpTimes::active(), nullptr);
}

}  // namespace
}  // namespace roofline
