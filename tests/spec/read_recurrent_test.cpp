#include "spec/spec_testing.h"

#include "roofline/spec/tensor_names.h"

namespace roofline {
namespace {

using Json = nlohmann::json;

Json nemotron() {
  return R"({
    "model_type": "nemotron_h", "hidden_size": 64, "intermediate_size": 128,
    "vocab_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "mamba_num_heads": 8, "mamba_head_dim": 16,
    "ssm_state_size": 16, "n_groups": 2,
    "hybrid_override_pattern": "M-*M", "num_hidden_layers": 4
  })"_json;
}

TEST(ReadRecurrent, AConvolutionThatDoesNotTellTheLayoutIsRefused) {
  Json config = golden_config("qwen3_next");
  config["linear_conv_kernel_dim"] = 1;
  EXPECT_THROW(read_config(config), UnsupportedError);
}

TEST(ReadRecurrent, LettersSayWhatALayerIs) {
  const ModelSpec spec = read_config(nemotron());
  ASSERT_EQ(spec.layers.size(), 4u);
  EXPECT_TRUE(spec.layers[0].recurrent);
  EXPECT_FALSE(spec.layers[0].attention);
  EXPECT_FALSE(spec.layers[0].feed_forward);
  EXPECT_TRUE(spec.layers[1].feed_forward);
  EXPECT_FALSE(spec.layers[1].recurrent);
  EXPECT_TRUE(spec.layers[2].attention);
  EXPECT_FALSE(spec.layers[2].attention->rope);
  EXPECT_EQ(spec.layers[3].recurrent->conv_channels, 128 + 2 * 2 * 16);
}

TEST(ReadRecurrent, AnUnknownLetterIsRefused) {
  Json config = nemotron();
  config["hybrid_override_pattern"] = "MX";
  EXPECT_THROW(read_config(config), CheckpointError);
}

TEST(ReadRecurrent, TheListCountsTheLayers) {
  Json config = nemotron();
  config.erase("hybrid_override_pattern");
  config.erase("num_hidden_layers");
  config["layers_block_type"] = {"linear_attention", "mlp"};
  EXPECT_EQ(read_config(config).layers.size(), 2u);
}

Json mamba() {
  return R"({
    "model_type": "mamba2", "hidden_size": 64, "num_hidden_layers": 2,
    "vocab_size": 256, "num_heads": 8, "head_dim": 16, "state_size": 16,
    "n_groups": 1, "expand": 2
  })"_json;
}

TEST(ReadRecurrent, InfinityIsNoBound) {
  Json config = mamba();
  config["time_step_limit"] = {0.001, {{"__float__", "Infinity"}}};
  const ModelSpec spec = read_config(config);
  EXPECT_FLOAT_EQ(spec.layers[0].recurrent->step_min, 0.001f);
  EXPECT_TRUE(std::isinf(spec.layers[0].recurrent->step_max));
}

TEST(ReadRecurrent, BoundsInTheWrongOrderAreRefused) {
  Json config = mamba();
  config["time_step_limit"] = {0.5, 0.1};
  EXPECT_THROW(read_config(config), CheckpointError);
}

TEST(ReadRecurrent, HeadsMustFillTheLayer) {
  Json config = mamba();
  config["num_heads"] = 7;
  EXPECT_THROW(read_config(config), CheckpointError);
}

TEST(ReadRecurrent, AFieldThatIsNotUnderstoodIsRefused) {
  Json config = mamba();
  config["mamba_twist"] = 2;
  EXPECT_THROW(read_config(config), UnsupportedError);
}

TEST(ReadRecurrent, ALayerWithoutAttentionAsksForNone) {
  const ModelSpec spec = read_config(mamba());
  for (const ExpectedTensor& tensor : expected_tensors(spec)) {
    EXPECT_EQ(tensor.name.find("attention."), std::string::npos);
    EXPECT_EQ(tensor.name.find("feed_forward"), std::string::npos);
  }
}

TEST(ReadRecurrent, TheFirstFilesOfLfm2ReadTheSame) {
  const Json now = R"({
    "model_type": "lfm2", "hidden_size": 64, "intermediate_size": 192,
    "vocab_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
    "num_hidden_layers": 2, "layer_types": ["conv", "full_attention"],
    "block_multiple_of": 16
  })"_json;
  Json old = now;
  old.erase("layer_types");
  old.erase("intermediate_size");
  old.update(R"({"block_ff_dim": 192, "full_attn_idxs": [1],
    "tie_embedding": true, "conv_dim": 64, "use_pos_enc": true})"_json);
  for (const Json& config : {now, old}) {
    const ModelSpec spec = read_config(config);
    EXPECT_EQ(spec.layers[0].feed_forward->hidden, 128);
    EXPECT_TRUE(spec.layers[0].recurrent);
    EXPECT_TRUE(spec.layers[1].attention);
    EXPECT_TRUE(spec.tied_embeddings);
  }
}

}  // namespace
}  // namespace roofline
