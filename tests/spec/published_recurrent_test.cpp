#include "spec/spec_testing.h"

// Configs of models with recurrent layers as people publish them.

namespace roofline {
namespace {

TEST(PublishedRecurrent, Mamba2) {
  const ModelSpec spec = read_config(R"(
    {"chunk_size": 256, "conv_kernel": 4, "expand": 2, "head_dim": 64,
    "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 8192,
    "layer_norm_epsilon": 1e-05, "model_type": "mamba2", "n_groups": 8,
    "norm_before_gate": true, "num_heads": 128, "num_hidden_layers": 64,
    "rescale_prenorm_residual": false, "residual_in_fp32": true, "rms_norm":
    true, "state_size": 128, "tie_word_embeddings": false, "time_step_floor":
    0.0001, "time_step_init_scheme": "random", "time_step_limit": [0.0,
    {"__float__": "Infinity"}], "time_step_max": 0.1, "time_step_min": 0.001,
    "time_step_rank": 256, "time_step_scale": 1.0, "use_bias": false,
    "use_conv_bias": true, "vocab_size": 32768}
  )"_json);
  const RecurrentSpec& r = *spec.layers[63].recurrent;
  EXPECT_EQ(r.conv_channels, 8192 + 2 * 8 * 128);
  EXPECT_FALSE(spec.layers[63].attention);
}

TEST(PublishedRecurrent, Lfm2) {
  const ModelSpec spec = read_config(R"(
    {"block_auto_adjust_ff_dim": true, "block_dim": 2048, "block_ff_dim":
    12288, "block_ffn_dim_multiplier": 1.0, "block_mlp_init_scale": 1.0,
    "block_multiple_of": 256, "block_norm_eps": 1e-05, "block_out_init_scale":
    1.0, "block_use_swiglu": true, "block_use_xavier_init": true,
    "conv_L_cache": 3, "conv_bias": false, "conv_dim": 2048, "conv_dim_out":
    2048, "conv_use_xavier_init": true, "full_attn_idxs": [2, 5, 8, 10, 12,
    14], "hidden_size": 2048, "max_position_embeddings": 128000, "model_type":
    "lfm2", "norm_eps": 1e-05, "num_attention_heads": 32, "num_heads": 32,
    "num_hidden_layers": 16, "num_key_value_heads": 8, "rope_theta":
    1000000.0, "use_pos_enc": true, "vocab_size": 65536}
  )"_json);
  EXPECT_TRUE(spec.layers[2].attention);
  EXPECT_TRUE(spec.layers[3].recurrent);
  EXPECT_EQ(spec.layers[3].feed_forward->hidden, 8192);
  EXPECT_TRUE(spec.tied_embeddings);
}

TEST(PublishedRecurrent, FalconH1) {
  const ModelSpec spec = read_config(R"(
    {"attention_bias": false, "attention_in_multiplier": 1.0,
    "attention_out_multiplier": 0.9375, "attn_layer_indices": null,
    "embedding_multiplier": 5.656854249492381, "head_dim": 64, "hidden_act":
    "silu", "hidden_size": 1024, "intermediate_size": 2048, "key_multiplier":
    0.390625, "lm_head_multiplier": 0.0390625, "mamba_chunk_size": 128,
    "mamba_conv_bias": true, "mamba_d_conv": 4, "mamba_d_head": 64,
    "mamba_d_ssm": 1536, "mamba_d_state": 128, "mamba_expand": 2,
    "mamba_n_groups": 1, "mamba_n_heads": 24, "mamba_norm_before_gate": false,
    "mamba_proj_bias": false, "mamba_rms_norm": false, "mamba_use_mlp": true,
    "max_position_embeddings": 16384, "mlp_bias": false,
    "mlp_expansion_factor": 8, "mlp_multipliers": [0.8838834764831844,
    0.5859375], "model_type": "falcon_h1", "num_attention_heads": 8,
    "num_hidden_layers": 36, "num_key_value_heads": 2, "projectors_bias":
    false, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta":
    100000000000.0, "ssm_in_multiplier": 1.25, "ssm_multipliers":
    [0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738],
    "ssm_out_multiplier": 0.23570226039551587, "tie_word_embeddings": false,
    "time_step_floor": 0.0001, "time_step_max": 0.1, "time_step_min": 0.001,
    "time_step_rank": "auto", "vocab_size": 32784}
  )"_json);
  EXPECT_TRUE(spec.layers[35].attention);
  EXPECT_FLOAT_EQ(spec.layers[35].recurrent->part_scales[1], 0.25f);
  EXPECT_FLOAT_EQ(spec.logit_scale, 0.0390625f);
}

TEST(PublishedRecurrent, Granite4) {
  const ModelSpec spec = read_config(R"(
    {"attention_bias": false, "attention_multiplier": 0.0078125,
    "embedding_multiplier": 12, "hidden_act": "silu", "hidden_size": 1536,
    "init_method": "mup", "intermediate_size": 512, "layer_types": ["mamba",
    "attention"], "logits_scaling": 6, "mamba_chunk_size": 256,
    "mamba_conv_bias": true, "mamba_d_conv": 4, "mamba_d_head": 64,
    "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1,
    "mamba_n_heads": 48, "mamba_proj_bias": false, "max_position_embeddings":
    131072, "model_type": "granitemoehybrid", "normalization_function":
    "rmsnorm", "num_attention_heads": 12, "num_experts_per_tok": 6,
    "num_hidden_layers": 2, "num_key_value_heads": 4, "num_local_experts": 64,
    "output_router_logits": false, "position_embedding_type": "nope",
    "residual_multiplier": 0.22, "rms_norm_eps": 1e-05, "rope_scaling": null,
    "rope_theta": 10000, "router_aux_loss_coef": 0.01,
    "shared_intermediate_size": 1024, "tie_word_embeddings": true,
    "vocab_size": 100352}
  )"_json);
  EXPECT_FALSE(spec.layers[1].attention->rope);
  EXPECT_EQ(spec.layers[0].feed_forward->mixture->shared_hidden, 1024);
  EXPECT_EQ(spec.layers[0].recurrent->heads, 48);
}

TEST(PublishedRecurrent, NemotronNano2) {
  const ModelSpec spec = read_config(R"(
    {"attention_bias": false, "chunk_size": 128, "conv_kernel": 4, "expand":
    2, "head_dim": 128, "hidden_size": 4480, "hybrid_override_pattern":
    "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    "intermediate_size": 15680, "layer_norm_epsilon": 1e-05, "mamba_head_dim":
    80, "mamba_hidden_act": "silu", "mamba_num_heads": 128, "mamba_proj_bias":
    false, "max_position_embeddings": 131072, "mlp_bias": false,
    "mlp_hidden_act": "relu2", "model_type": "nemotron_h", "n_groups": 8,
    "num_attention_heads": 40, "num_hidden_layers": 56, "num_key_value_heads":
    8, "rescale_prenorm_residual": true, "residual_in_fp32": false,
    "rms_norm_eps": 1e-05, "sliding_window": null, "ssm_state_size": 128,
    "tie_word_embeddings": false, "time_step_floor": 0.0001,
    "time_step_limit": [0.0, {"__float__": "Infinity"}], "time_step_max": 0.1,
    "time_step_min": 0.001, "time_step_rank": 256, "use_bias": false,
    "use_conv_bias": true, "use_mamba_kernels": true, "vocab_size": 131072}
  )"_json);
  ASSERT_EQ(spec.layers.size(), 56u);
  EXPECT_FALSE(spec.layers[1].feed_forward->gated);
  EXPECT_FALSE(spec.layers[1].feed_forward->mixture);
  EXPECT_FLOAT_EQ(spec.layers[0].recurrent->step_min, 0.001f);
}

TEST(PublishedRecurrent, Nemotron3) {
  const ModelSpec spec = read_config(R"(
    {"attention_bias": false, "chunk_size": 128, "conv_kernel": 4, "expand":
    2, "head_dim": 128, "hidden_size": 2688, "hybrid_override_pattern":
    "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    "intermediate_size": 1856, "layer_norm_epsilon": 1e-05, "mamba_head_dim":
    64, "mamba_hidden_act": "silu", "mamba_num_heads": 64, "mamba_proj_bias":
    false, "mamba_ssm_cache_dtype": "float32", "max_position_embeddings":
    262144, "mlp_bias": false, "mlp_hidden_act": "relu2", "model_type":
    "nemotron_h", "moe_intermediate_size": 1856,
    "moe_shared_expert_intermediate_size": 3712, "n_group": 1, "n_groups": 8,
    "n_routed_experts": 128, "n_shared_experts": 1, "norm_eps": 1e-05,
    "norm_topk_prob": true, "num_attention_heads": 32, "num_experts_per_tok":
    6, "num_hidden_layers": 52, "num_key_value_heads": 2,
    "partial_rotary_factor": 1.0, "rescale_prenorm_residual": true,
    "residual_in_fp32": false, "rope_theta": 10000, "routed_scaling_factor":
    2.5, "sliding_window": null, "ssm_state_size": 128, "tie_word_embeddings":
    false, "time_step_floor": 0.0001, "time_step_limit": [0.0, {"__float__":
    "Infinity"}], "time_step_max": 0.1, "time_step_min": 0.001, "topk_group":
    1, "use_bias": false, "use_conv_bias": true, "use_mamba_kernels": true,
    "vocab_size": 131072}
  )"_json);
  ASSERT_EQ(spec.layers.size(), 52u);
  EXPECT_EQ(spec.layers[1].feed_forward->mixture->experts, 128);
  EXPECT_TRUE(spec.layers[5].attention);
}

TEST(PublishedRecurrent, Qwen3Next) {
  const ModelSpec spec = read_config(R"(
    {"attention_bias": false, "decoder_sparse_step": 1,
    "full_attention_interval": 4, "head_dim": 256, "hidden_act": "silu",
    "hidden_size": 2048, "intermediate_size": 5120, "linear_conv_kernel_dim":
    4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
    "linear_num_value_heads": 32, "linear_value_head_dim": 128,
    "max_position_embeddings": 262144, "mlp_only_layers": [], "model_type":
    "qwen3_next", "moe_intermediate_size": 512, "norm_topk_prob": true,
    "num_attention_heads": 16, "num_experts": 512, "num_experts_per_tok": 10,
    "num_hidden_layers": 48, "num_key_value_heads": 2, "output_router_logits":
    false, "partial_rotary_factor": 0.25, "rms_norm_eps": 1e-06,
    "rope_scaling": null, "rope_theta": 10000000, "router_aux_loss_coef":
    0.001, "shared_expert_intermediate_size": 512, "tie_word_embeddings":
    false, "use_sliding_window": false, "vocab_size": 151936}
  )"_json);
  EXPECT_TRUE(spec.layers[3].attention->output_gate);
  EXPECT_EQ(spec.layers[3].attention->rope->rotated_dims, 64);
  EXPECT_TRUE(spec.layers[4].recurrent->rows_by_key_head);
}

TEST(PublishedRecurrent, Qwen35Moe) {
  const ModelSpec spec = read_config(R"(
    {"image_token_id": 248056, "model_type": "qwen3_5_moe", "text_config":
    {"attention_bias": false, "attn_output_gate": true,
    "full_attention_interval": 4, "head_dim": 256, "hidden_act": "silu",
    "hidden_size": 2048, "layer_types": ["linear_attention",
    "linear_attention", "linear_attention", "full_attention"],
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
    "linear_num_key_heads": 16, "linear_num_value_heads": 32,
    "linear_value_head_dim": 128, "max_position_embeddings": 262144,
    "mlp_only_layers": [], "model_type": "qwen3_5_moe_text",
    "moe_intermediate_size": 512, "mtp_num_hidden_layers": 1,
    "mtp_use_dedicated_embeddings": false, "num_attention_heads": 16,
    "num_experts": 256, "num_experts_per_tok": 8, "num_hidden_layers": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "router_aux_loss_coef":
    0.001, "shared_expert_intermediate_size": 512, "vocab_size": 248320,
    "mamba_ssm_dtype": "float32", "rope_parameters": {"mrope_interleaved":
    true, "mrope_section": [11, 11, 10], "rope_type": "default", "rope_theta":
    10000000, "partial_rotary_factor": 0.25}}, "tie_word_embeddings": false,
    "video_token_id": 248057, "vision_config": {"depth": 27},
    "vision_end_token_id": 248054, "vision_start_token_id": 248053}
  )"_json);
  EXPECT_EQ(spec.family, "qwen3_5_moe");
  EXPECT_EQ(spec.layers[0].feed_forward->mixture->top_k, 8);
  EXPECT_FALSE(spec.layers[0].recurrent->rows_by_key_head);
}

}  // namespace
}  // namespace roofline
