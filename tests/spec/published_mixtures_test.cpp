#include "roofline/spec/tensor_names.h"
#include "spec/spec_testing.h"

// Configs of models with mixtures of experts as people publish them, with all
// the fields that come along.

namespace roofline {
namespace {

const MixtureSpec& mixture_of(const ModelSpec& spec) {
  return *spec.layers.back().feed_forward->mixture;
}

TEST(PublishedMixtures, Qwen3Coder) {
  const ModelSpec spec = read_config(R"({
    "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "decoder_sparse_step": 1, "eos_token_id": 151645,
    "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 5472,
    "max_position_embeddings": 262144, "max_window_layers": 28,
    "mlp_only_layers": [], "model_type": "qwen3_moe",
    "moe_intermediate_size": 768, "norm_topk_prob": true,
    "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 48, "num_key_value_heads": 4,
    "output_router_logits": false, "qkv_bias": false, "rms_norm_eps": 1e-06,
    "rope_scaling": null, "rope_theta": 10000000,
    "router_aux_loss_coef": 0.0, "shared_expert_intermediate_size": 0,
    "sliding_window": null, "tie_word_embeddings": false,
    "torch_dtype": "bfloat16", "transformers_version": "4.52.3",
    "use_cache": true, "use_qk_norm": true, "use_sliding_window": false,
    "vocab_size": 151936
  })"_json);
  EXPECT_EQ(mixture_of(spec).top_k, 8);
  EXPECT_TRUE(mixture_of(spec).renormalise);
  EXPECT_EQ(mixture_of(spec).shared_hidden, 0);
  EXPECT_FALSE(spec.layers[0].attention->window_tokens.has_value());
}

TEST(PublishedMixtures, DeepSeekV2Lite) {
  const ModelSpec spec = read_config(R"({
    "architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "aux_loss_alpha": 0.001,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV2Config"},
    "bos_token_id": 100000, "eos_token_id": 100001,
    "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 10944,
    "kv_lora_rank": 512, "max_position_embeddings": 163840,
    "model_type": "deepseek_v2", "moe_intermediate_size": 1408,
    "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 64,
    "n_shared_experts": 2, "norm_topk_prob": false,
    "num_attention_heads": 16, "num_experts_per_tok": 6,
    "num_hidden_layers": 27, "num_key_value_heads": 16,
    "pretraining_tp": 1, "q_lora_rank": null, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40,
      "mscale": 0.707, "mscale_all_dim": 0.707,
      "original_max_position_embeddings": 4096, "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 1.0,
    "scoring_func": "softmax", "seq_aux": true, "tie_word_embeddings": false,
    "topk_group": 1, "topk_method": "greedy", "v_head_dim": 128,
    "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 102400
  })"_json);
  const AttentionSpec& attention = *spec.layers[0].attention;
  EXPECT_FALSE(attention.latent->q_rank.has_value());
  EXPECT_EQ(attention.latent->kv_rank, 512);
  EXPECT_EQ(attention.rope->rotated_dims, 64);
  EXPECT_EQ(attention.rope->layout, RopeLayout::interleaved);
  // 192^-½ times the square of 0.0707·ln 40 + 1.
  EXPECT_NEAR(attention.scale, 0.11472, 1e-4);
  EXPECT_EQ(attention.rope->regimes[0].magnitude, 1.0f);
  EXPECT_FALSE(spec.layers[0].feed_forward->mixture.has_value());
  EXPECT_EQ(spec.layers[0].feed_forward->hidden, 10944);
  EXPECT_EQ(mixture_of(spec).shared_hidden, 2816);
  EXPECT_EQ(mixture_of(spec).groups, 1);
}

TEST(PublishedMixtures, KimiK2) {
  const ModelSpec spec = read_config(R"({
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "aux_loss_alpha": 0.001,
    "bos_token_id": 163584, "eos_token_id": 163585, "ep_size": 1,
    "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 7168,
    "initializer_range": 0.02, "intermediate_size": 18432,
    "kv_lora_rank": 512, "max_position_embeddings": 131072,
    "model_type": "kimi_k2", "moe_intermediate_size": 2048,
    "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 384,
    "n_shared_experts": 1, "norm_topk_prob": true,
    "num_attention_heads": 64, "num_experts_per_tok": 8,
    "num_hidden_layers": 61, "num_key_value_heads": 64,
    "num_nextn_predict_layers": 0, "pretraining_tp": 1, "q_lora_rank": 1536,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
    "rope_theta": 50000.0, "routed_scaling_factor": 2.827,
    "rope_scaling": {"beta_fast": 1.0, "beta_slow": 1.0, "factor": 32.0,
      "mscale": 1.0, "mscale_all_dim": 1.0,
      "original_max_position_embeddings": 4096, "type": "yarn"},
    "scoring_func": "sigmoid", "seq_aux": true, "tie_word_embeddings": false,
    "topk_group": 1, "topk_method": "noaux_tc", "use_cache": true,
    "v_head_dim": 128, "vocab_size": 163840
  })"_json);
  EXPECT_EQ(mixture_of(spec).experts, 384);
  EXPECT_EQ(mixture_of(spec).score, ExpertScore::sigmoid);
  EXPECT_FLOAT_EQ(mixture_of(spec).scale, 2.827f);
  EXPECT_EQ(spec.extra_layers, 0);
}

TEST(PublishedMixtures, MiniMaxM2) {
  const ModelSpec spec = read_config(R"({
    "architectures": ["MiniMaxM2ForCausalLM"], "attention_dropout": 0.0,
    "attn_type_list": [1, 1], "bos_token_id": null, "eos_token_id": null,
    "head_dim": 128, "hidden_act": "silu", "hidden_size": 3072,
    "initializer_range": 0.02, "intermediate_size": 1536,
    "layernorm_full_attention_beta": 1.0,
    "layernorm_linear_attention_beta": 1.0, "layernorm_mlp_beta": 1.0,
    "max_position_embeddings": 196608, "mlp_intermediate_size": 8192,
    "model_type": "minimax_m2",
    "mtp_transformer_layers": 1, "num_attention_heads": 48,
    "num_experts_per_tok": 8, "num_hidden_layers": 2,
    "num_key_value_heads": 8, "num_local_experts": 256,
    "num_mtp_modules": 3, "output_router_logits": false,
    "qk_norm_type": "per_layer", "rms_norm_eps": 1e-06,
    "rope_theta": 5000000, "rotary_dim": 64, "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0, "scoring_func": "sigmoid",
    "shared_intermediate_size": 0, "shared_moe_mode": "sigmoid",
    "sliding_window": null, "swa_rope_theta": -1.0,
    "tie_word_embeddings": false, "transformers_version": "4.46.1",
    "use_cache": true, "use_mtp": true, "use_qk_norm": true,
    "use_routing_bias": true, "vocab_size": 200064
  })"_json);
  EXPECT_EQ(spec.layers[0].attention->rope->rotated_dims, 64);
  EXPECT_EQ(spec.layers[0].attention->qk_norm, QkNorm::whole);
  EXPECT_TRUE(mixture_of(spec).selection_bias);
}

TEST(PublishedMixtures, Ernie) {
  const ModelSpec spec = read_config(R"({
    "architectures": ["Ernie4_5_MoeForCausalLM"], "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 2560,
    "intermediate_size": 12288, "max_position_embeddings": 131072,
    "model_type": "ernie4_5_moe", "moe_capacity": [64, 64, 64],
    "moe_gate": "topk", "moe_intermediate_size": 1536, "moe_k": 6,
    "moe_layer_interval": 1, "moe_layer_start_index": 1,
    "moe_num_experts": 64, "moe_num_shared_experts": 2,
    "moe_use_aux_free": true, "num_attention_heads": 20,
    "num_hidden_layers": 28, "num_key_value_heads": 4,
    "num_nextn_predict_layers": 1, "pad_token_id": 0,
    "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 500000.0,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    "use_bias": false, "use_cache": true, "vocab_size": 103424
  })"_json);
  EXPECT_FALSE(spec.layers[0].feed_forward->mixture.has_value());
  EXPECT_EQ(mixture_of(spec).shared_hidden, 3072);
  EXPECT_TRUE(map_tensor_name(
                  "model.mtp_block.0.mlp.up_proj",
                  NameStyle::hugging_face,
                  spec)
                  .empty());
}

TEST(PublishedMixtures, Phi35Moe) {
  nlohmann::json config = R"({
    "architectures": ["PhiMoEForCausalLM"], "attention_bias": true,
    "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 32000,
    "hidden_act": "silu", "hidden_dropout": 0.0, "hidden_size": 4096,
    "initializer_range": 0.02, "input_jitter_noise": 0.01,
    "intermediate_size": 6400, "lm_head_bias": true,
    "max_position_embeddings": 131072, "model_type": "phimoe",
    "num_attention_heads": 32, "num_experts_per_tok": 2,
    "num_hidden_layers": 32, "num_key_value_heads": 8,
    "num_local_experts": 16, "original_max_position_embeddings": 4096,
    "output_router_logits": false, "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0, "router_aux_loss_coef": 0.0,
    "router_jitter_noise": 0.01, "sliding_window": 131072,
    "tie_word_embeddings": false, "vocab_size": 32064
  })"_json;
  config["rope_scaling"] = {
      {"type", "longrope"},
      {"short_factor", std::vector<double>(64, 1.0)},
      {"long_factor", std::vector<double>(64, 1.5)},
      {"short_mscale", 1.243163121016122},
      {"long_mscale", 1.243163121016122},
      {"original_max_position_embeddings", 4096}};
  const ModelSpec spec = read_config(config);
  EXPECT_TRUE(spec.head_bias);
  EXPECT_EQ(spec.layers[0].norm.kind, NormKind::layer);
  EXPECT_EQ(mixture_of(spec).score, ExpertScore::sparsemixer);
}

nlohmann::json small(const std::string& type) {
  return {
      {"model_type", type},
      {"hidden_size", 32},
      {"intermediate_size", 48},
      {"num_hidden_layers", 2},
      {"num_attention_heads", 4},
      {"num_key_value_heads", 2},
      {"vocab_size", 96}};
}

TEST(Mixtures, NumbersThatCannotGoTogetherAreRefused) {
  auto config = small("mixtral");
  config["num_local_experts"] = 4;
  config["num_experts_per_tok"] = 5;
  expect_has(config_error<CheckpointError>(config), "5 of 4 experts");
  config["num_experts_per_tok"] = 2;
  config["num_experts"] = 6;  // another name for the first
  expect_has(config_error<CheckpointError>(config), "num_experts");
  config = small("glm4_moe");
  config["n_routed_experts"] = 8;
  config["num_experts_per_tok"] = 4;
  config["n_group"] = 3;
  config["topk_group"] = 1;
  expect_has(config_error<CheckpointError>(config), "divide the experts");
  config["n_group"] = 4;
  expect_has(config_error<CheckpointError>(config), "fewer experts");
}

TEST(Mixtures, AnotherWayOfScoringIsRefused) {
  auto config = small("deepseek_v3");
  config["scoring_func"] = "softmax";
  expect_has(config_error<UnsupportedError>(config), "scoring_func");
  config = small("deepseek_v2");
  config["num_experts_per_tok"] = 2;
  config["topk_method"] = "noaux_tc";
  expect_has(config_error<UnsupportedError>(config), "topk_method");
}

TEST(Mixtures, ExpertsAreFoundUnderEveryNameOfTheirs) {
  auto config = small("qwen3_moe");
  config["num_experts"] = 4;
  config["num_experts_per_tok"] = 2;
  config["moe_intermediate_size"] = 8;
  const ModelSpec spec = read_config(config);
  const auto names = [&](std::string_view name, NameStyle style) {
    std::vector<std::string> out;
    for (const NamedRows& part : map_tensor_name(name, style, spec)) {
      out.push_back(part.name);
    }
    return out;
  };
  const auto hf = NameStyle::hugging_face;
  using Names = std::vector<std::string>;
  const std::string at = "layers.1.feed_forward.";
  EXPECT_EQ(
      names("model.layers.1.mlp.experts.3.up_proj", hf),
      Names{at + "experts.3.up"});
  EXPECT_EQ(
      names("model.layers.1.mlp.switch_mlp.up_proj", hf),
      Names{at + "experts.up"});
  EXPECT_EQ(names("model.layers.1.mlp.gate", hf), Names{at + "router"});
  const Names packed = names("model.layers.1.mlp.experts.gate_up_proj", hf);
  ASSERT_EQ(packed.size(), 8U);
  EXPECT_EQ(packed[5], at + "experts.2.up");
  EXPECT_EQ(
      names("blk.1.ffn_down_exps", NameStyle::gguf),
      Names{at + "experts.down"});
  EXPECT_EQ(
      names("blk.1.exp_probs_b.bias", NameStyle::gguf),
      Names{at + "router.selection"});
  EXPECT_THROW(
      names("model.layers.1.mlp.experts.4.up_proj", hf),
      CheckpointError);
  EXPECT_THROW(
      names("model.layers.1.mlp.experts.03.up_proj", hf),
      CheckpointError);
}

}  // namespace
}  // namespace roofline
