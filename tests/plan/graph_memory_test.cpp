#include "roofline/plan/graph_memory.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "roofline/plan/memory.h"

namespace roofline {
namespace {

InferenceQuestion on_cpu(std::int64_t tokens) {
  InferenceQuestion question;
  question.context_tokens = tokens;
  return question;
}

TEST(GraphMemory, WhatTheFusedStepLacksRunsAsAGraph) {
  EXPECT_FALSE(runs_as_graph_on_cpu(plan_model("llama-3.2-1b").spec));
  EXPECT_TRUE(runs_as_graph_on_cpu(plan_model("gpt2").spec));
  EXPECT_TRUE(runs_as_graph_on_cpu(plan_model("lfm2-350m").spec));
}

TEST(GraphMemory, AStepHoldsTheResultsOfItsWidestLayersOps) {
  const auto gpt2 = plan_model("gpt2");
  const double one = cpu_graph_step_bytes(gpt2.spec, 1);
  // At least queries, keys, values, hidden values before and after their
  // activation, and what attention and feed-forward give.
  EXPECT_GT(one, 4.0 * (3 * 768 + 2 * 3072 + 2 * 768));
  EXPECT_DOUBLE_EQ(cpu_graph_step_bytes(gpt2.spec, 512), 512 * one);
  auto wider = gpt2.spec;
  wider.layers[5].feed_forward->hidden += 1000;
  EXPECT_GE(cpu_graph_step_bytes(wider, 1), one + 2 * 4 * 1000);
  auto narrower = gpt2.spec;
  narrower.layers[5].feed_forward->hidden -= 1000;
  EXPECT_DOUBLE_EQ(cpu_graph_step_bytes(narrower, 1), one);
}

TEST(GraphMemory, ChosenExpertsEachTakeTheirPart) {
  auto spec = plan_model("qwen1.5-moe-a2.7b").spec;
  const double four = cpu_graph_step_bytes(spec, 1);
  for (auto& layer : spec.layers) {
    layer.feed_forward->mixture->top_k *= 2;
  }
  const auto& mixture = *spec.layers[0].feed_forward->mixture;
  EXPECT_GT(
      cpu_graph_step_bytes(spec, 1) - four,
      4.0 * 4 * (spec.dim + 2 * mixture.expert_hidden));
}

TEST(GraphMemory, PartsOfALayerRunOneAfterTheOther) {
  auto spec = plan_model("gpt2").spec;
  const double both = cpu_graph_step_bytes(spec, 512);
  for (auto& layer : spec.layers) {
    layer.attention.reset();
  }
  const double fed = cpu_graph_step_bytes(spec, 512);
  spec = plan_model("gpt2").spec;
  for (auto& layer : spec.layers) {
    layer.feed_forward.reset();
  }
  const double attended = cpu_graph_step_bytes(spec, 512);
  EXPECT_GT(both, std::max(fed, attended));
  EXPECT_LT(both, fed + attended);
}

TEST(GraphMemory, AStepsStatesStandBesideThoseBeforeIt) {
  const auto mamba = plan_model("mamba2-2.7b");
  auto question = on_cpu(512);
  question.batch = 2;
  const auto out = predict_inference(mamba, question);
  std::uint64_t again = 0;
  for (const MemoryPart& part : out.parts) {
    again += part.name == "states after a step" ? part.bytes : 0;
  }
  EXPECT_GT(again, 0U);
  EXPECT_EQ(again, out.of("state"));
}

TEST(GraphMemory, MatricesOutOfALatentAreHeldInFloat32) {
  const auto model = plan_model("deepseek-v2-lite");
  std::uint64_t wanted = 0;
  for (const ModelTensor& tensor : model.tensors) {
    wanted += held_as_float32(tensor)
                  ? static_cast<std::uint64_t>(tensor.count()) * 4
                  : 0;
  }
  ASSERT_GT(wanted, 0U);
  auto question = on_cpu(512);
  question.quantize = WeightFormat{4, 64};
  for (const MemoryPart& part : predict_inference(model, question).parts) {
    if (part.name == "weights: attention (f32)") {
      EXPECT_EQ(part.bytes, wanted);
      return;
    }
  }
  FAIL() << "no part of float32";
}

}  // namespace
}  // namespace roofline
