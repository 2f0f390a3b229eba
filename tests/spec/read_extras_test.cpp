#include "roofline/spec/read_extras.h"

#include "spec/spec_testing.h"

namespace roofline {
namespace {

using Json = nlohmann::json;

TEST(ReadExtras, TheLastLayersShareTheKeysOfTheLastOneOfTheirKind) {
  const ModelSpec spec = read_config(golden_config("gemma4_text"));
  ASSERT_EQ(spec.layers.size(), 4u);
  EXPECT_FALSE(spec.layers[1].attention->shares_kv_of_layer);
  EXPECT_EQ(spec.layers[2].attention->shares_kv_of_layer, 0);
  EXPECT_EQ(spec.layers[3].attention->shares_kv_of_layer, 1);
  EXPECT_EQ(
      spec.layers[0].feed_forward->hidden * 2,
      spec.layers[3].feed_forward->hidden);
}

TEST(ReadExtras, SharingWithoutALayerOfTheKindIsRefused) {
  Json config = golden_config("gemma4_text");
  config["layer_types"][1] = "sliding_attention";
  config["per_layer_config"].erase("1");
  expect_has(config_error<CheckpointError>(config), "num_kv_shared_layers");
}

TEST(ReadExtras, HeadsOfLayersThatSeeAllComeFromEitherStyle) {
  Json config = golden_config("gemma4_keys_are_values");
  const ModelSpec listed = read_config(config);
  EXPECT_EQ(listed.layers[1].attention->head_dim, 16);
  EXPECT_EQ(listed.layers[1].attention->kv_heads, 1);
  EXPECT_TRUE(listed.layers[1].attention->values_are_keys);
  EXPECT_EQ(listed.layers[0].attention->head_dim, 8);
  EXPECT_FALSE(listed.layers[0].attention->values_are_keys);
  config.erase("per_layer_config");
  config["global_head_dim"] = 16;
  config["num_global_key_value_heads"] = 1;
  const ModelSpec named = read_config(config);
  EXPECT_EQ(describe(named), describe(listed));
}

TEST(ReadExtras, SizesOfSomeOtherLayerAreRefused) {
  Json config = golden_config("gemma4_text");
  config["per_layer_config"]["0"] = {{"head_dim", 32}};
  expect_has(config_error<UnsupportedError>(config), "layer 0");
}

TEST(ReadExtras, GatesAreSparseByListOrByDefault) {
  Json config = golden_config("gemma3n_text");
  const ModelSpec spec = read_config(config);
  EXPECT_FLOAT_EQ(*spec.layers[1].feed_forward->gate_sparsity, 0.5f);
  EXPECT_FALSE(spec.layers[2].feed_forward->gate_sparsity);
  EXPECT_EQ(spec.layers[1].feed_forward->hidden, 56);
  config["activation_sparsity_pattern"] = nullptr;
  EXPECT_FALSE(read_config(config).layers[0].feed_forward->gate_sparsity);
  config["activation_sparsity_pattern"] = {0.5};
  expect_has(config_error<CheckpointError>(config), "each of 3 layers");
}

TEST(ReadExtras, ExpertsStandBesideTheDensePartWhereTheFlagSaysSo) {
  Json config = golden_config("gemma4_text");
  config["num_experts"] = 6;
  config["top_k_experts"] = 2;
  config["moe_intermediate_size"] = 20;
  EXPECT_FALSE(read_config(config).layers[0].feed_forward->mixture);
  config["enable_moe_block"] = true;
  const FeedForwardSpec both = *read_config(config).layers[0].feed_forward;
  EXPECT_TRUE(both.mixture_beside_dense);
  EXPECT_EQ(both.hidden, 48);
  ASSERT_TRUE(both.mixture);
  EXPECT_EQ(both.mixture->top_k, 2);
  EXPECT_TRUE(both.mixture->router_norm);
  config["num_experts"] = nullptr;
  expect_has(config_error<CheckpointError>(config), "num_experts");
}

TEST(ReadExtras, AWrapperMayNameEitherOfItsFamilies) {
  Json text = golden_config("ministral3");
  const Json outer = {
      {"model_type", "mistral3"},
      {"text_config", text},
      {"vision_config", {{"hidden_size", 8}}},
      {"image_token_index", 10},
      {"spatial_merge_size", 2}};
  const ModelSpec spec = read_config(outer);
  EXPECT_EQ(spec.family, "mistral3");
  EXPECT_TRUE(spec.layers[0].attention->query_temperature);
  Json other = outer;
  other["text_config"]["model_type"] = "llama";
  expect_has(config_error<UnsupportedError>(other), "mistral3");
}

}  // namespace
}  // namespace roofline
