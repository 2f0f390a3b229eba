#include "roofline/plan/trace.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace roofline {
namespace {

TEST(Trace, SpansAreKeptOnlyWhileTracing) {
  enable_memory_trace();
  trace_span("inside", trace_seconds(), "test");
  const MemoryTrace trace = get_memory_trace();
  trace_span("after", 0);
  EXPECT_EQ(get_memory_trace().spans.size(), 1u);
  ASSERT_EQ(trace.spans.size(), 1u);
  EXPECT_EQ(trace.spans[0].name, "inside");
  EXPECT_EQ(trace.spans[0].category, "test");
  EXPECT_GE(trace.spans[0].seconds, 0);
}

TEST(Trace, ItsZeroMayLieBeforeItsBeginning) {
  enable_memory_trace(2);
  trace_span("start", 0);
  const MemoryTrace trace = get_memory_trace();
  ASSERT_EQ(trace.spans.size(), 1u);
  EXPECT_GE(trace.spans[0].seconds, 2);
}

TEST(Trace, MemoryIsSampledByCategory) {
  enable_memory_trace();
  trace_kv_bytes(1000);
  const MemoryTrace trace = get_memory_trace();
  ASSERT_FALSE(trace.samples.empty());
  EXPECT_GT(trace.peak().resident_bytes, 0u);
  EXPECT_GE(trace.peak().resident_bytes, trace.peak().file_bytes);
}

TEST(Trace, EnablingItAgainForgets) {
  enable_memory_trace();
  trace_span("first", 0);
  enable_memory_trace();
  EXPECT_TRUE(get_memory_trace().spans.empty());
}

TEST(Trace, ThePeakOfEachCategoryHasItsOwnTime) {
  MemoryTrace trace;
  MemorySample a;
  a.resident_bytes = 10;
  a.kv_bytes = 1;
  MemorySample b;
  b.resident_bytes = 5;
  b.kv_bytes = 2;
  trace.samples = {a, b};
  EXPECT_EQ(trace.peak().resident_bytes, 10u);
  EXPECT_EQ(trace.peak().kv_bytes, 2u);
}

TEST(Trace, WhatIsOtherIsNeverNegative) {
  MemorySample sample;
  sample.resident_bytes = 10;
  sample.mlx_active_bytes = 4;
  EXPECT_EQ(sample.other_bytes(), 6u);
  sample.mlx_active_bytes = 40;
  EXPECT_EQ(sample.other_bytes(), 0u);
}

TEST(Trace, TheFileIsChromesFormat) {
  MemoryTrace trace;
  trace.spans = {{"a \"name\"", 0.5, 0.25, "phase"}};
  MemorySample sample;
  sample.at_seconds = 1;
  sample.mlx_active_bytes = 10;
  sample.kv_bytes = 4;
  trace.samples = {sample};
  trace.counters = {{"power W", 2, {{"CPU", 3}}}};
  const auto events = nlohmann::json::parse(trace_json(trace))["traceEvents"];
  nlohmann::json spans;
  nlohmann::json counters;
  for (const auto& event : events) {
    if (event["ph"] == "X") {
      spans.push_back(event);
    } else if (event["ph"] == "C") {
      counters.push_back(event);
    }
  }
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0]["name"], "a \"name\"");
  EXPECT_EQ(spans[0]["ts"], 500000.0);
  EXPECT_EQ(spans[0]["dur"], 250000.0);
  ASSERT_EQ(counters.size(), 2u);
  EXPECT_EQ(counters[0]["args"]["MLX active"], 6);
  EXPECT_EQ(counters[0]["args"]["KV cache"], 4);
  EXPECT_EQ(counters[1]["args"]["CPU"], 3.0);
}

}  // namespace
}  // namespace roofline
