#include "roofline/spec/families.h"

#include <array>

namespace roofline {

namespace {

// How the steps were initialized, what the scan's chunks were, and the like.
/// rescale_prenorm_residual belongs to initialization: transformers 5.24
/// applies it to weights that mamba2 has loaded as well, by mistake.
constexpr std::array<std::string_view, 22> kMambaNotes = {
    "attn_layer_indices",
    "chunk_size",
    "init_method",
    "intermediate_size",
    "mamba_chunk_size",
    "mamba_dt_init_floor",
    "mamba_dt_limit",
    "mamba_dt_max",
    "mamba_ssm_cache_dtype",
    "mlp_expansion_factor",
    "norm_before_gate",
    "normalization_function",
    "rescale_prenorm_residual",
    "residual_in_fp32",
    "rms_norm",
    "time_step_floor",
    "time_step_init_scheme",
    "time_step_max",
    "time_step_min",
    "time_step_rank",
    "time_step_scale",
    "use_mamba_kernels",
};

constexpr std::array<std::string_view, 10> kConvNotes = {
    "block_dim",
    "block_mlp_init_scale",
    "block_norm_eps",
    "block_out_init_scale",
    "block_use_xavier_init",
    "conv_dim",
    "conv_dim_out",
    "conv_use_xavier_init",
    "num_heads",
    "theta",
};

constexpr RecurrentRule kMamba2 = {
    .layers = MixerLayers::all_recurrent,
    .heads = {.name = "num_heads", .absent = 128},
    .head_dim = {.name = "head_dim", .absent = 64},
    .groups = {.name = "n_groups", .absent = 8},
    .state_dim = {.name = "state_size", .absent = 128},
    .conv_width = {.name = "conv_kernel", .absent = 4},
    .conv_bias = {.name = "use_conv_bias", .absent = true},
    .input_bias = {.name = "use_bias"},
    .output_bias = {.name = "use_bias"},
    .expand = {.name = "expand", .absent = 2},
    .inner_is_checked = true,
    .step_limits = "time_step_limit",
};

constexpr RecurrentRule kFalconH1 = {
    .layers = MixerLayers::side_by_side,
    .heads = {.name = "mamba_n_heads", .absent = 128},
    .head_dim = {.name = "mamba_d_head"},
    .groups = {.name = "mamba_n_groups", .absent = 1},
    .state_dim = {.name = "mamba_d_state", .absent = 256},
    .conv_width = {.name = "mamba_d_conv", .absent = 4},
    .conv_bias = {.name = "mamba_conv_bias", .absent = true},
    .input_bias = {.name = "mamba_proj_bias"},
    .output_bias = {.name = "projectors_bias"},
    .inner_field = "mamba_d_ssm",
    .expand = {.name = "mamba_expand", .absent = 2},
    .inner_is_checked = true,
    .output_norm = SwitchField{.name = "mamba_rms_norm"},
    .norm_before_gate =
        SwitchField{.name = "mamba_norm_before_gate", .absent = true},
    .step_limits = "time_step_limit",
    .part_multipliers = true,
};

constexpr RecurrentRule kLfm2 = {
    .kind = RecurrentKind::short_conv,
    .attention_indices = true,
    .conv_width = {.name = "conv_L_cache", .absent = 3},
    .conv_bias = {.name = "conv_bias"},
    .input_bias = {.name = "conv_bias"},
    .output_bias = {.name = "conv_bias"},
    .adjusted_hidden = true,
};

constexpr std::array<std::string_view, 30> kNemotronNotes = {
    "attention_bias",
    "attention_head_dim",
    "chunk_size",
    "expand",
    "mamba_chunk_size",
    "mamba_dt_init_floor",
    "mamba_dt_limit",
    "mamba_dt_max",
    "mamba_expand",
    "mamba_proj_bias",
    "mamba_ssm_cache_dtype",
    "moe_shared_expert_overlap",
    "mtp_hybrid_override_pattern",
    "mtp_layers_block_type",
    "n_shared_experts",
    "norm_eps",
    "num_nextn_predict_layers",
    "partial_rotary_factor",
    "rescale_prenorm_residual",
    "residual_in_fp32",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "time_step_floor",
    "time_step_limit",
    "time_step_max",
    "time_step_rank",
    "use_mamba_kernels",
};

constexpr std::array<std::string_view, 5> kQwenNotes = {
    "full_attention_interval",
    "mamba_ssm_dtype",
    "mtp_num_hidden_layers",
    "mtp_use_dedicated_embeddings",
    "use_sliding_window",
};

constexpr RecurrentRule kGraniteHybrid = {
    .heads = {.name = "mamba_n_heads", .absent = 128},
    .head_dim = {.name = "mamba_d_head"},
    .groups = {.name = "mamba_n_groups", .absent = 1},
    .state_dim = {.name = "mamba_d_state", .absent = 256},
    .conv_width = {.name = "mamba_d_conv", .absent = 4},
    .conv_bias = {.name = "mamba_conv_bias", .absent = true},
    .input_bias = {.name = "mamba_proj_bias"},
    .output_bias = {.name = "mamba_proj_bias"},
    .expand = {.name = "mamba_expand", .absent = 2},
    .inner_is_checked = true,
    .step_limits = "time_step_limit",
    .rope_by_type = true,
};

constexpr RecurrentRule kNemotronH = {
    .layers = MixerLayers::one_part,
    .heads = {.name = "mamba_num_heads", .absent = 128},
    .head_dim = {.name = "mamba_head_dim", .absent = 64},
    .groups = {.name = "n_groups", .other_name = "mamba_n_groups", .absent = 8},
    .state_dim = {.name = "ssm_state_size", .absent = 128},
    .conv_width =
        {.name = "conv_kernel", .other_name = "mamba_d_conv", .absent = 4},
    .conv_bias =
        {.name = "use_conv_bias",
         .other_name = "mamba_conv_bias",
         .absent = true},
    .input_bias = {.name = "use_bias"},
    .output_bias = {.name = "use_bias"},
    .activation_field = "mamba_hidden_act",
    .step_min = "time_step_min",
    .other_step_min = "mamba_dt_min",
    .step_min_absent = 0.001f,
};

constexpr RecurrentRule kGatedDelta = {
    .kind = RecurrentKind::gated_delta,
    .attention_interval = 4,
    .heads = {.name = "linear_num_value_heads", .absent = 32},
    .head_dim = {.name = "linear_value_head_dim", .absent = 128},
    .groups = {.name = "linear_num_key_heads", .absent = 16},
    .state_dim = {.name = "linear_key_head_dim", .absent = 128},
    .conv_width = {.name = "linear_conv_kernel_dim", .absent = 4},
    .gated_attention = true,
};

constexpr RecurrentRule with_rows_by_key_head(RecurrentRule rule) {
  rule.rows_by_key_head = true;
  return rule;
}

constexpr RecurrentRule with_whole_hidden(RecurrentRule rule) {
  rule.adjusted_hidden = false;
  return rule;
}

constexpr RecurrentRule with_tiled_files(RecurrentRule rule) {
  rule.gguf_tiled = true;
  return rule;
}

constexpr MixtureRule kQwenExperts = {
    .experts_fields = {"num_experts"},
    .experts = 256,
    .top_k = 8,
    .hidden = 512,
    .shared = SharedExpert::sized,
    .shared_field = "shared_expert_intermediate_size",
    .shared_size = 512,
    .shared_gate = true,
};

constexpr MixtureRule next_experts() {
  MixtureRule rule = kQwenExperts;
  rule.experts = 512;
  rule.top_k = 10;
  rule.renormalise_field = true;
  rule.layers = ExpertLayers::stepped;
  return rule;
}

// Sorted by name. A field that is left out has the default in families.h.
constexpr std::array kRecurrentFamilies = {
    Family{
        .name = "falcon_h1",
        .gguf_name = "falcon-h1",
        .norm_eps = 1e-5,
        .qkv_bias = {.field = "attention_bias"},
        .output_bias = {.field = "attention_bias"},
        .feed_forward_bias = {.field = "mlp_bias"},
        .kv_heads = 8,
        .context_tokens = 8192,
        .notes = kMambaNotes,
        .recurrent = kFalconH1,
    },
    Family{
        .name = "granitemoehybrid",
        .gguf_name = "granitehybrid",
        .qkv_bias = {.field = "attention_bias"},
        .output_bias = {.field = "attention_bias"},
        .scale = ScaleRule::multiplier,
        .multipliers = true,
        .sizes = {.hidden = 1024},
        .names = {.hidden = "shared_intermediate_size"},
        .notes = kMambaNotes,
        .mixture =
            MixtureRule{
                .experts_fields = {"num_local_experts"},
                .experts = 8,
                .top_k = 2,
                .hidden_field = "intermediate_size",
                .hidden = 11008,
                .shared = SharedExpert::sized,
                .shared_field = "shared_intermediate_size",
                .shared_size = 1024,
            },
        .recurrent = kGraniteHybrid,
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "lfm2",
        .gguf_name = "lfm2",
        .norm_eps_field = "norm_eps",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head,
        .kv_heads = 8,
        .rope_theta = 1000000.0,
        .tied = true,
        .tied_field = "tie_embedding",
        .context_tokens = 128000,
        .sizes = {.hidden = 12288},
        .notes = kConvNotes,
        .recurrent = kLfm2,
    },
    Family{
        .name = "lfm2_moe",
        .gguf_name = "lfm2moe",
        .norm_eps_field = "norm_eps",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head,
        .kv_heads = 8,
        .rope_theta = 1000000.0,
        .tied = true,
        .tied_field = "tie_embedding",
        .context_tokens = 128000,
        .sizes = {.hidden = 7168},
        .notes = kConvNotes,
        .mixture =
            MixtureRule{
                .experts_fields = {"num_experts"},
                .experts = 32,
                .top_k = 4,
                .hidden = 1792,
                .score = ExpertScore::sigmoid,
                .renormalise_field = true,
                .scale = 1.0f,
                .selection_bias = true,
                .selection_bias_field = "use_expert_bias",
                .layers = ExpertLayers::past_first,
                .first_layer = 2,
                .first_layer_field = "num_dense_layers",
            },
        .recurrent = with_whole_hidden(kLfm2),
    },
    Family{
        .name = "mamba2",
        .gguf_name = "mamba2",
        .norm_eps_field = "layer_norm_epsilon",
        .norm_eps = 1e-5,
        .rope = RopeRule::none,
        .context_tokens = 1048576,
        .notes = kMambaNotes,
        .recurrent = kMamba2,
    },
    Family{
        .name = "nemotron_h",
        .gguf_name = "nemotron_h",
        .gguf_other_name = "nemotron_h_moe",
        .norm_eps_field = "layer_norm_epsilon",
        .norm_eps = 1e-5,
        .feed_forward_bias = {.field = "mlp_bias"},
        .kv_heads = 8,
        .head_dim = 128,
        .rope = RopeRule::none,
        .activation = Activation::relu_squared,
        .activation_field = "mlp_hidden_act",
        .gated = false,
        .never_tied = true,
        .context_tokens = 4096,
        .sizes = {.hidden = 21504},
        .notes = kNemotronNotes,
        .mixture =
            MixtureRule{
                .experts_fields = {"n_routed_experts", "num_local_experts"},
                .experts = 8,
                .top_k = 2,
                .hidden = 7688,
                .score = ExpertScore::sigmoid,
                .renormalise_field = true,
                .scale = 1.0f,
                .selection_bias = true,
                .groups = 1,
                .top_groups = 1,
                .group_score = GroupScore::sum_of_best_2,
                .shared = SharedExpert::sized,
                .shared_field = "moe_shared_expert_intermediate_size",
                .shared_size = 7688,
                .latent_field = "moe_latent_size",
                .layers = ExpertLayers::listed,
            },
        .recurrent = kNemotronH,
    },
    Family{
        .name = "qwen3_5_moe_text",
        .gguf_name = "qwen35moe",
        .norm_plus_one = true,
        .qk_norm = QkNorm::per_head,
        .qkv_bias = {.field = "attention_bias"},
        .output_bias = {.field = "attention_bias"},
        .kv_heads = 2,
        .head_dim = 256,
        .partial_rotary = true,
        .partial_rotary_share = 0.25,
        .context_tokens = 32768,
        .sizes =
            {.dim = 2048,
             .hidden = 512,
             .layers = 40,
             .heads = 16,
             .vocab = 248320},
        .notes = kQwenNotes,
        .mixture = kQwenExperts,
        .recurrent = with_tiled_files(kGatedDelta),
    },
    Family{
        .name = "qwen3_5_text",
        .gguf_name = "qwen35",
        .norm_plus_one = true,
        .qk_norm = QkNorm::per_head,
        .qkv_bias = {.field = "attention_bias"},
        .output_bias = {.field = "attention_bias"},
        .kv_heads = 4,
        .head_dim = 256,
        .partial_rotary = true,
        .partial_rotary_share = 0.25,
        .context_tokens = 32768,
        .sizes =
            {.dim = 4096,
             .hidden = 12288,
             .layers = 32,
             .heads = 16,
             .vocab = 248320},
        .notes = kQwenNotes,
        .recurrent = with_tiled_files(kGatedDelta),
    },
    Family{
        .name = "qwen3_next",
        .gguf_name = "qwen3next",
        .norm_plus_one = true,
        .qk_norm = QkNorm::per_head,
        .qkv_bias = {.field = "attention_bias"},
        .output_bias = {.field = "attention_bias"},
        .kv_heads = 2,
        .head_dim = 256,
        .partial_rotary = true,
        .partial_rotary_share = 0.25,
        .context_tokens = 32768,
        .sizes = {.hidden = 5632},
        .notes = kQwenNotes,
        .mixture = next_experts(),
        .recurrent = with_rows_by_key_head(kGatedDelta),
    },
};

}  // namespace

std::span<const Family> recurrent_families() {
  return kRecurrentFamilies;
}

}  // namespace roofline
