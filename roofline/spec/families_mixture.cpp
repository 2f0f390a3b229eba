#include <array>

#include "roofline/spec/families.h"

namespace roofline {

namespace {

constexpr FlagRule kAttentionBias = {"attention_bias"};
constexpr FlagRule kAlways = {"", true};

/// One number a layer, all the same: kinds of attention that aren't mixed. The
/// others are of shared experts, dense layers and groups that it doesn't have.
constexpr std::array<std::string_view, 4> kMiniMaxNotes = {
    "attn_type_list",
    "mlp_intermediate_size",
    "shared_moe_mode",
    "use_grouped_topk"};

/// DeepSeek-V3's, which others took over.
constexpr MixtureRule kSigmoidInGroups = {
    .experts_fields = {"n_routed_experts", "num_local_experts"},
    .experts = 256,
    .top_k = 8,
    .hidden = 2048,
    .score = ExpertScore::sigmoid,
    .renormalise = true,
    .renormalise_field = true,
    .scale = 2.5f,
    .selection_bias = true,
    .groups = 8,
    .top_groups = 4,
    .group_score = GroupScore::sum_of_best_2,
    .shared = SharedExpert::counted,
    .shared_field = "n_shared_experts",
    .shared_size = 1,
    .layers = ExpertLayers::past_first,
    .first_layer = 3,
    .fixed =
        {{{"scoring_func", "sigmoid"},
          {"topk_method", "noaux_tc"},
          {"moe_layer_freq", "1"}}},
};

constexpr MixtureRule kGlm = [] {
  MixtureRule rule = kSigmoidInGroups;
  rule.experts = 128;
  rule.hidden = 1408;
  rule.scale = 1.0f;
  rule.groups = 1;
  rule.top_groups = 1;
  rule.first_layer = 1;
  return rule;
}();

constexpr MixtureRule kDots = [] {
  MixtureRule rule = kGlm;
  rule.experts = 0;
  rule.top_k = 0;
  rule.renormalise = false;
  rule.shared_size = 0;
  rule.first_layer = 0;
  rule.fixed[0].value = "sigmoid|noaux_tc";
  return rule;
}();

/// One for each layer; experts as wide as a dense part would be.
constexpr MixtureRule whole_width(int experts, int top_k) {
  MixtureRule rule;
  rule.experts_fields = {"num_local_experts", "num_experts"};
  rule.experts = experts;
  rule.top_k = top_k;
  rule.hidden_field = "intermediate_size";
  return rule;
}

constexpr MixtureRule kMiniMax = [] {
  MixtureRule rule = whole_width(256, 8);
  rule.score = ExpertScore::sigmoid;
  rule.selection_bias = true;
  rule.fixed = {
      {{"scoring_func", "sigmoid"},
       {"use_routing_bias", "true"},
       {"use_qk_norm", "true"},
       {"qk_norm_type", "per_layer"},
       {"shared_intermediate_size", "0"}}};
  return rule;
}();

constexpr MixtureRule kGptOss = [] {
  MixtureRule rule = whole_width(128, 4);
  rule.top_k_fields = {"num_experts_per_tok", "experts_per_token"};
  rule.router_bias = true;
  rule.expert_bias = true;
  rule.interleaved = true;
  return rule;
}();

constexpr MixtureRule kOlmo = [] {
  MixtureRule rule = whole_width(64, 8);
  rule.renormalise = false;
  rule.renormalise_field = true;
  return rule;
}();

constexpr MixtureRule kPhi = [] {
  MixtureRule rule = whole_width(16, 2);
  rule.score = ExpertScore::sparsemixer;
  return rule;
}();

// Sorted by name. A field that is left out has the default in families.h.
constexpr std::array kMixtureFamilies = {
    Family{
        .name = "deepseek_v2",
        .gguf_name = "deepseek2",
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .feed_forward_bias = {"mlp_bias"},
        .head_dim = 64,
        .mixture =
            MixtureRule{
                .experts_fields = {"n_routed_experts", "num_experts"},
                .experts = 64,
                .hidden = 1407,
                .renormalise = false,
                .renormalise_field_ignored = true,
                .scale = 1.0f,
                .groups = 1,
                .top_groups = 1,
                .groups_by_method = true,
                .shared = SharedExpert::counted,
                .shared_field = "n_shared_experts",
                .shared_size = 2,
                .layers = ExpertLayers::past_first,
                .fixed =
                    {{{"scoring_func", "softmax"}, {"moe_layer_freq", "1"}}},
            },
        .latent = kAlways,
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "deepseek_v3",
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .head_dim = 64,
        .context_tokens = 4096,
        .mixture = kSigmoidInGroups,
        .latent = FlagRule{"rope_interleave", true},
        .extra_layers = true,
    },
    Family{
        .name = "dots1",
        .gguf_name = "dots1",
        .qk_norm = QkNorm::per_head,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .kv_heads = 32,
        .window = WindowRule::past_first,
        .window_tokens = 4096,
        .window_first = 62,
        .layer_types = true,
        .mixture = kDots,
    },
    Family{
        .name = "ernie4_5_moe",
        .gguf_name = "ernie4_5-moe",
        .norm_eps = 1e-5,
        .qkv_bias = {"use_bias"},
        .output_bias = {"use_bias"},
        .feed_forward_bias = {"use_bias"},
        .head_bias = {"use_bias"},
        .kv_heads = 4,
        .rope_layout = RopeLayout::interleaved,
        .rope_theta = 500000.0,
        .tied = true,
        .context_tokens = 131072,
        .mixture =
            MixtureRule{
                .experts_fields = {"moe_num_experts", "num_experts"},
                .experts = 64,
                .top_k_fields = {"moe_k", "num_experts_per_tok"},
                .top_k = 6,
                .hidden = 1536,
                .least_sum_field = "moe_norm_min",
                .least_sum = 1e-12f,
                .selection_bias = true,
                .shared = SharedExpert::counted,
                .shared_field = "moe_num_shared_experts",
                .shared_size = 2,
                .layers = ExpertLayers::between,
                .first_layer = 1,
                .fixed = {{{"moe_gate", "topk"}, {"moe_use_aux_free", "true"}}},
            },
        .extra_layers = true,
    },
    Family{
        .name = "glm4_moe",
        .gguf_name = "glm4moe",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head,
        .qk_norm_rule = {"use_qk_norm"},
        .qkv_bias = kAttentionBias,
        .kv_heads = 8,
        .partial_rotary = true,
        .partial_rotary_share = 0.5,
        .context_tokens = 131072,
        .mixture = kGlm,
        .extra_layers = true,
    },
    Family{
        .name = "gpt_oss",
        .gguf_name = "gpt-oss",
        .norm_eps = 1e-5,
        .qkv_bias = {"attention_bias", true},
        .output_bias = {"attention_bias", true},
        .kv_heads = 8,
        .head_dim = 64,
        .window = WindowRule::pattern,
        .window_tokens = 128,
        .window_pattern = 2,
        .layer_types = true,
        .rope_theta = 150000.0,
        .rope_parameters = R"({"rope_type": "yarn", "factor": 32.0,
            "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
            "original_max_position_embeddings": 4096})",
        .context_tokens = 131072,
        .mixture = kGptOss,
        .sinks = true,
        .clamped_glu = true,
        .gguf_yarn_truncate = false,
        .gguf_window = WindowRule::pattern,
    },
    Family{
        .name = "granitemoe",
        .gguf_name = "granitemoe",
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .scale = ScaleRule::multiplier,
        .multipliers = true,
        .mixture = whole_width(8, 2),
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "kimi_k2",
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .head_dim = 64,
        .context_tokens = 4096,
        .mixture = kSigmoidInGroups,
        .latent = FlagRule{"rope_interleave", true},
        .extra_layers = true,
    },
    Family{
        .name = "minimax_m2",
        .gguf_name = "minimax-m2",
        .qk_norm = QkNorm::whole,
        .kv_heads = 8,
        .head_dim = 128,
        .rope_theta = 5000000.0,
        .partial_rotary = true,
        .rotary_dim_field = true,
        .context_tokens = 196608,
        .notes = kMiniMaxNotes,
        .mixture = kMiniMax,
    },
    Family{
        .name = "mixtral",
        .norm_eps = 1e-5,
        .kv_heads = 8,
        .window = WindowRule::all,
        .rope_theta = 1000000.0,
        .context_tokens = 131072,
        .mixture = whole_width(8, 2),
    },
    Family{
        .name = "olmoe",
        .gguf_name = "olmoe",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::whole,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .clip_field = "clip_qkv",
        .context_tokens = 4096,
        .mixture = kOlmo,
    },
    Family{
        .name = "phimoe",
        .gguf_name = "phimoe",
        .norm_kind = NormKind::layer,
        .norm_bias = true,
        .norm_eps = 1e-5,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .head_bias = {"lm_head_bias"},
        .kv_heads = 8,
        .window = WindowRule::all,
        .rope_theta = 1000000.0,
        .longrope_magnitudes = true,
        .context_tokens = 131072,
        .mixture = kPhi,
    },
    Family{
        .name = "qwen2_moe",
        .gguf_name = "qwen2moe",
        .qkv_bias = {"qkv_bias", true},
        .kv_heads = 16,
        .window = WindowRule::even_below_first,
        .window_tokens = 4096,
        .layer_types = true,
        .window_switch = true,
        .context_tokens = 32768,
        .mixture =
            MixtureRule{
                .experts_fields = {"num_experts"},
                .experts = 60,
                .top_k = 4,
                .hidden = 1408,
                .renormalise = false,
                .renormalise_field = true,
                .shared = SharedExpert::sized,
                .shared_field = "shared_expert_intermediate_size",
                .shared_size = 5632,
                .shared_gate = true,
                .layers = ExpertLayers::stepped,
            },
    },
    Family{
        .name = "qwen3_moe",
        .gguf_name = "qwen3moe",
        .qk_norm = QkNorm::per_head,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .kv_heads = 4,
        .window = WindowRule::all,
        .window_tokens = 4096,
        .window_switch = true,
        .context_tokens = 32768,
        .mixture =
            MixtureRule{
                .experts_fields = {"num_local_experts", "num_experts"},
                .experts = 128,
                .top_k = 8,
                .hidden = 768,
                .renormalise = false,
                .renormalise_field = true,
                .gguf_renormalise = true,
                .layers = ExpertLayers::stepped,
                .fixed =
                    {{{"use_qk_norm", "true"},
                      {"shared_expert_intermediate_size", "0"}}},
            },
    },
};

}  // namespace

std::span<const Family> mixture_families() {
  return kMixtureFamilies;
}

}  // namespace roofline
