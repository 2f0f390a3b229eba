#include <cmath>

#include "spec/spec_testing.h"

// Configs as people publish them, with all the fields that come along.

namespace roofline {
namespace {

using Json = nlohmann::json;

/// Fields that programs write into every config.
Json published(Json config) {
  const Json more = R"({
    "_name_or_path": "somewhere/model", "attention_dropout": 0.0,
    "initializer_range": 0.02, "pad_token_id": 0, "pretraining_tp": 1,
    "rope_scaling": null, "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0", "use_cache": true
  })"_json;
  for (const auto& [name, value] : more.items()) {
    if (!config.contains(name)) {
      config[name] = value;
    }
  }
  return config;
}

TEST(PublishedConfigs, SmolLm2) {
  const ModelSpec spec = read_config(published(R"({
    "architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "hidden_size": 576, "intermediate_size": 1536, "is_llama_config": true,
    "max_position_embeddings": 8192, "mlp_bias": false,
    "model_type": "llama", "num_attention_heads": 9,
    "num_hidden_layers": 30, "num_key_value_heads": 3,
    "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_theta": 100000,
    "tie_word_embeddings": true, "vocab_size": 49152,
    "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}}
  })"_json));
  EXPECT_EQ(spec.layers.size(), 30u);
  EXPECT_EQ(spec.layers[0].attention->head_dim, 64);
  EXPECT_EQ(spec.layers[0].attention->rope->theta, 100000.0);
  EXPECT_TRUE(spec.tied_embeddings);
}

TEST(PublishedConfigs, Llama32) {
  const ModelSpec spec = read_config(published(R"({
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009],
    "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
    "intermediate_size": 8192, "max_position_embeddings": 131072,
    "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 16, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
    "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
      "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
      "rope_type": "llama3"},
    "tie_word_embeddings": true, "unsloth_fixed": true, "vocab_size": 128256
  })"_json));
  EXPECT_EQ(spec.eos_tokens.size(), 3u);
  EXPECT_FLOAT_EQ(
      spec.layers[0].attention->rope->regime_for(1).frequencies[31] * 32,
      std::pow(500000.0f, -62.0f / 64.0f));
}

TEST(PublishedConfigs, Qwen25AndQwen3) {
  Json config = published(R"({
    "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
    "hidden_size": 896, "intermediate_size": 4864,
    "max_position_embeddings": 32768, "max_window_layers": 21,
    "model_type": "qwen2", "num_attention_heads": 14,
    "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "sliding_window": 32768, "tie_word_embeddings": true,
    "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936
  })"_json);
  const ModelSpec qwen2 = read_config(config);
  EXPECT_TRUE(qwen2.layers[23].attention->qkv_bias);
  EXPECT_FALSE(qwen2.layers[23].attention->window_tokens.has_value());
  config["model_type"] = "qwen3";
  config["head_dim"] = 128;
  config["attention_bias"] = false;
  config["sliding_window"] = nullptr;
  const ModelSpec qwen3 = read_config(config);
  EXPECT_EQ(qwen3.layers[0].attention->head_dim, 128);
  EXPECT_EQ(qwen3.layers[0].attention->qk_norm, QkNorm::per_head);
}

TEST(PublishedConfigs, Gemma2) {
  const ModelSpec spec = read_config(published(R"({
    "attention_bias": false, "attn_logit_softcapping": 50.0,
    "bos_token_id": 2, "cache_implementation": "hybrid",
    "eos_token_id": [1, 107], "final_logit_softcapping": 30.0,
    "head_dim": 128, "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 4608,
    "intermediate_size": 36864, "max_position_embeddings": 8192,
    "model_type": "gemma2", "num_attention_heads": 32,
    "num_hidden_layers": 46, "num_key_value_heads": 16,
    "query_pre_attn_scalar": 144, "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0, "sliding_window": 4096,
    "sliding_window_size": 4096, "vocab_size": 256000,
    "_attn_implementation": "eager"
  })"_json));
  EXPECT_FLOAT_EQ(spec.layers[0].attention->scale, 1 / 12.0f);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_TRUE(spec.final_norm.plus_one);
}

TEST(PublishedConfigs, Gemma3) {
  const ModelSpec spec = read_config(published(R"({
    "architectures": ["Gemma3ForCausalLM"], "attention_bias": false,
    "attn_logit_softcapping": null, "bos_token_id": 2,
    "cache_implementation": "hybrid", "eos_token_id": [1, 106],
    "final_logit_softcapping": null, "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
    "intermediate_size": 6912, "max_position_embeddings": 32768,
    "model_type": "gemma3_text", "num_attention_heads": 4,
    "num_hidden_layers": 26, "num_key_value_heads": 1,
    "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000, "rope_theta": 1000000,
    "sliding_window": 512, "sliding_window_pattern": 6,
    "vocab_size": 262144,
    "quantization": {"group_size": 64, "bits": 4, "mode": "affine"},
    "quantization_config": {"group_size": 64, "bits": 4, "mode": "affine"}
  })"_json));
  EXPECT_EQ(spec.layers[0].attention->window_tokens, 512);
  EXPECT_FALSE(spec.layers[5].attention->window_tokens.has_value());
  EXPECT_EQ(spec.layers[5].attention->rope->theta, 1000000.0);
  EXPECT_EQ(spec.quantization->bits, 4);
}

TEST(PublishedConfigs, SmolLm3) {
  Json config = published(R"({
    "attention_bias": false, "bos_token_id": null, "eos_token_id": 128012,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 11008,
    "max_position_embeddings": 65536, "max_window_layers": 28,
    "mlp_bias": false, "model_type": "smollm3",
    "no_rope_layer_interval": 4, "num_attention_heads": 16,
    "num_hidden_layers": 8, "num_key_value_heads": 4,
    "no_rope_layers": [1, 1, 1, 0, 1, 1, 1, 0],
    "rms_norm_eps": 1e-06, "rope_theta": 5000000.0, "sliding_window": null,
    "use_sliding_window": false, "vocab_size": 128256
  })"_json);
  config["layer_types"] = std::vector<std::string>(8, "full_attention");
  const ModelSpec spec = read_config(config);
  EXPECT_FALSE(spec.layers[7].attention->rope.has_value());
  EXPECT_EQ(spec.layers[6].attention->rope->theta, 5000000.0);
  EXPECT_EQ(spec.bos_token, std::nullopt);
}

TEST(PublishedConfigs, Phi4Mini) {
  Json config = published(R"({
    "attention_bias": false, "auto_map": {"AutoConfig": "a.B"},
    "bos_token_id": 199999, "embd_pdrop": 0.0, "eos_token_id": 199999,
    "full_attn_mod": 1, "hidden_act": "silu", "hidden_size": 3072,
    "intermediate_size": 8192, "interpolate_factor": 1,
    "lm_head_bias": false, "max_position_embeddings": 131072,
    "mlp_bias": false, "model_type": "phi3", "num_attention_heads": 24,
    "num_hidden_layers": 32, "num_key_value_heads": 8,
    "original_max_position_embeddings": 4096, "partial_rotary_factor": 0.75,
    "resid_pdrop": 0.0, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "sliding_window": 262144, "tie_word_embeddings": true,
    "vocab_size": 200064
  })"_json);
  config["rope_scaling"] = {
      {"type", "longrope"},
      {"short_factor", std::vector<double>(48, 1.0)},
      {"long_factor", std::vector<double>(48, 2.0)}};
  const ModelSpec spec = read_config(config);
  const RopeSpec& rope = *spec.layers[0].attention->rope;
  EXPECT_EQ(rope.rotated_dims, 96);
  EXPECT_EQ(rope.regime_for(4096).frequencies[0], 1.0f);
  EXPECT_EQ(rope.regime_for(4097).frequencies[0], 0.5f);
  EXPECT_NEAR(rope.regime_for(1).magnitude, 1.1902380714, 1e-6);
}

TEST(PublishedConfigs, MistralNemoGraniteAndOlmo2) {
  Json config = published(R"({
    "bos_token_id": 1, "eos_token_id": 2, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 5120, "intermediate_size": 14336,
    "max_position_embeddings": 131072, "model_type": "mistral",
    "num_attention_heads": 32, "num_hidden_layers": 40,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0, "sliding_window": null,
    "tie_word_embeddings": false, "vocab_size": 131072
  })"_json);
  EXPECT_FALSE(
      read_config(config).layers[0].attention->window_tokens.has_value());
  config["model_type"] = "olmo2";
  config["attention_bias"] = false;
  EXPECT_EQ(read_config(config).layers[0].norm_placement, NormPlacement::post);
  config["model_type"] = "granite";
  config.update(R"({"attention_multiplier": 0.015625, "mlp_bias": false,
    "embedding_multiplier": 12.0, "logits_scaling": 8.0,
    "residual_multiplier": 0.22})"_json);
  EXPECT_FLOAT_EQ(read_config(config).layers[0].attention->scale, 0.015625f);
}

}  // namespace
}  // namespace roofline
