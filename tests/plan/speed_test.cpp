#include "roofline/plan/speed.h"

#include <gtest/gtest.h>

namespace roofline {
namespace {

ModelTensor tensor(std::string name, std::int64_t rows, std::int64_t cols) {
  ModelTensor out;
  out.name = std::move(name);
  out.rows = rows;
  out.cols = cols;
  out.format = "bf16";
  out.bytes = static_cast<std::uint64_t>(rows * cols * 2);
  return out;
}

/// Two layers, dim 8, 2 heads and 1 KV head of 4 dims, 100 words.
PlannedModel small_model() {
  PlannedModel model;
  model.name = "small";
  model.spec.dim = 8;
  model.spec.vocab = 100;
  LayerSpec layer;
  layer.attention->heads = 2;
  layer.attention->kv_heads = 1;
  layer.attention->head_dim = 4;
  model.spec.layers = {layer, layer};
  model.tensors = {
      tensor("embed", 100, 8),
      tensor("head", 100, 8),
      tensor("layers.0.attention.q", 8, 8),
      tensor("layers.1.attention.q", 8, 8)};
  return model;
}

TEST(DecodeWork, ReadsOneRowOfTheEmbeddingAndAllElseOnce) {
  const PhaseWork work = decode_work(small_model(), 0);
  EXPECT_DOUBLE_EQ(work.bytes, 8 * 2 + 100 * 8 * 2 + 2 * 64 * 2);
  // Two operations a weight, and a query against its own key and value:
  // 2 layers · 2 heads · (4 + 4) dims · 2.
  EXPECT_DOUBLE_EQ(work.operations, 2 * (800 + 128) + 2 * 2 * 8 * 2);
}

TEST(DecodeWork, TiedEmbeddingsAreReadAsTheHead) {
  PlannedModel model = small_model();
  model.spec.tied_embeddings = true;
  model.tensors.erase(model.tensors.begin() + 1);
  EXPECT_DOUBLE_EQ(decode_work(model, 0).bytes, 100 * 8 * 2 + 2 * 64 * 2);
}

TEST(DecodeWork, KeysAndValuesGrowWithDepthUpToTheWindow) {
  PlannedModel model = small_model();
  const double empty = decode_work(model, 0).bytes;
  // 2 layers · 1 head · (4 + 4) values · 2 bytes
  EXPECT_DOUBLE_EQ(decode_work(model, 100).bytes - empty, 100 * 32);
  EXPECT_DOUBLE_EQ(
      // 4 values fill a group of 64, with its scale and bias.
      decode_work(model, 100, 1, {8, 8, 64, 0}).bytes - empty,
      100 * 4 * 68);
  model.spec.layers[1].attention->window_tokens = 10;
  EXPECT_DOUBLE_EQ(decode_work(model, 100).bytes - empty, 110 * 16);
}

TEST(DecodeWork, ALatentIsSharedByAllHeads) {
  PlannedModel model = small_model();
  const double empty = decode_work(model, 0).bytes;
  for (LayerSpec& layer : model.spec.layers) {
    layer.attention->latent = LatentSpec{std::nullopt, 5, 4, 3};
  }
  EXPECT_DOUBLE_EQ(decode_work(model, 10).bytes - empty, 10 * 2 * 8 * 2);
}

TEST(DecodeWork, AStateIsReadAndWrittenAtEveryDepthAlike) {
  PlannedModel model = small_model();
  const double empty = decode_work(model, 0).bytes;
  RecurrentSpec recurrent;
  recurrent.heads = 2;
  recurrent.head_dim = 4;
  recurrent.state_dim = 3;
  recurrent.conv_width = 4;
  recurrent.conv_channels = 5;
  for (LayerSpec& layer : model.spec.layers) {
    layer.attention.reset();
    layer.recurrent = recurrent;
  }
  const double state = 2 * 2 * (2 * 4 * 3 * 4 + 3 * 5 * 2);
  EXPECT_DOUBLE_EQ(decode_work(model, 0).bytes - empty, state);
  EXPECT_DOUBLE_EQ(decode_work(model, 5000).bytes - empty, state);
}

TEST(DecodeWork, ABatchTouchesTheExpectedNumberOfDistinctExperts) {
  PlannedModel model = small_model();
  const double dense = decode_work(model, 0).bytes;
  const double dense_operations = decode_work(model, 0).operations;
  MixtureSpec mixture;
  mixture.experts = 8;
  mixture.top_k = 2;
  model.spec.layers[0].feed_forward->mixture = mixture;
  model.tensors.push_back(tensor("layers.0.feed_forward.experts.up", 64, 8));
  const double all = 64 * 8 * 2;
  EXPECT_DOUBLE_EQ(decode_work(model, 0).bytes - dense, all / 4);
  EXPECT_DOUBLE_EQ(
      decode_work(model, 0).operations - dense_operations,
      2 * 64 * 8 / 4);
  // 1 − (3/4)² of them; the batch's second embedding row is 16 bytes.
  EXPECT_DOUBLE_EQ(
      decode_work(model, 0, 2).bytes - dense,
      all * (1 - 0.75 * 0.75) + 16);
}

TEST(PrefillWork, EachStepReadsTheWeightsAndTheLastOneTheHead) {
  const PlannedModel model = small_model();
  const PhaseWork once = prefill_work(model, 8, 8);
  EXPECT_DOUBLE_EQ(once.bytes, 8 * 16 + 1600 + 256);
  // The second step also reads the first four tokens' keys and values.
  const PhaseWork twice = prefill_work(model, 8, 4);
  EXPECT_DOUBLE_EQ(twice.bytes, 8 * 16 + 1600 + 2 * 256 + 4 * 32);
  EXPECT_DOUBLE_EQ(once.operations, twice.operations);
  // Weights for 8 tokens, the head for one; 8 · 9 / 2 pairs of query and key.
  EXPECT_DOUBLE_EQ(once.operations, 2 * (128 * 8 + 800) + 36 * 2 * 2 * 8 * 2.0);
}

TEST(PredictSpeed, APhaseTakesTheLongerOfMovingAndComputing) {
  const PlannedModel model = small_model();
  InferenceQuestion question;
  MachineRates rates;
  rates.bytes_per_second = 1e6;
  rates.operations_per_second = 1e15;
  const SpeedPrediction moving = predict_speed(model, question, 16, rates);
  const PhaseWork work = decode_work(model, 16);
  EXPECT_DOUBLE_EQ(moving.decode_roof, 1e6 / work.bytes);
  EXPECT_DOUBLE_EQ(moving.decode, 0.7e6 / work.bytes);
  rates.bytes_per_second = 1e15;
  rates.operations_per_second = 1e6;
  const SpeedPrediction computing = predict_speed(model, question, 16, rates);
  EXPECT_DOUBLE_EQ(
      computing.prefill_roof,
      16e6 / prefill_work(model, 16).operations);
  EXPECT_LT(computing.prefill, computing.prefill_roof);
}

TEST(PredictSpeed, ABatchSharesTheWeights) {
  const PlannedModel model = small_model();
  InferenceQuestion question;
  MachineRates rates;
  rates.bytes_per_second = 1e9;
  rates.operations_per_second = 1e15;
  const double one = predict_speed(model, question, 0, rates).decode;
  question.batch = 8;
  const double eight = predict_speed(model, question, 0, rates).decode;
  EXPECT_GT(eight, 7 * one);
  EXPECT_LT(eight, 8 * one);
}

TEST(PredictSpeed, AnUnknownRateBoundsNothing) {
  MachineRates rates;
  rates.bytes_per_second = 1e9;
  const SpeedPrediction out = predict_speed(small_model(), {}, 4, rates);
  EXPECT_GT(out.decode, 0);
  EXPECT_DOUBLE_EQ(out.prefill, 0);
  EXPECT_DOUBLE_EQ(predict_speed(small_model(), {}, 4, {}).decode, 0);
}

}  // namespace
}  // namespace roofline
