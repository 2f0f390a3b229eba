#include "roofline/spec/families.h"

#include <algorithm>
#include <array>
#include <vector>

namespace roofline {

namespace {

constexpr FlagRule kAttentionBias = {"attention_bias"};
constexpr FlagRule kMlpBias = {"mlp_bias"};
constexpr FlagRule kUseBias = {"use_bias"};
constexpr FlagRule kAlways = {"", true};

constexpr std::string_view kApertusRope = R"({
  "rope_type": "llama3", "rope_theta": 12000000.0, "factor": 8.0,
  "original_max_position_embeddings": 8192,
  "low_freq_factor": 1.0, "high_freq_factor": 4.0})";
constexpr std::string_view kMinistral3Rope = R"({
  "rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0,
  "original_max_position_embeddings": 16384,
  "beta_fast": 32.0, "beta_slow": 1.0, "mscale_all_dim": 1.0, "mscale": 1.0,
  "llama_4_scaling_beta": 0.1})";

// Fields of published files that the reference doesn't read.
constexpr std::string_view kApertusNotes[] = {
    "mlp_bias",
    "post_norm",
    "qk_norm"};
constexpr std::string_view kCohereNotes[] = {
    "layer_switch",
    "order_of_interleaved_layers",
    "position_embedding_type",
    "rotary_pct",
    "use_embedding_sharing",
    "use_gated_activation",
    "use_parallel_block",
    "use_parallel_embedding"};
constexpr std::string_view kGpt2Notes[] = {
    "n_ctx",
    "reorder_and_upcast_attn",
    "summary_activation",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj"};
constexpr std::string_view kHunyuanNotes[] = {
    "attention_head_dim", "cla_share_factor",  "dense_list",
    "eod_token_id",       "im_end_id",         "im_newline_id",
    "im_start_id",        "mask_init_id",      "moe_intermediate_size",
    "moe_topk",           "norm_type",         "num_experts",
    "num_media_embeds",   "num_shared_expert", "org_vocab_size",
    "pool_type",          "rope_type",         "text_end_id",
    "text_start_id",      "use_qk_norm",       "use_rotary_pos_emb",
    "video_end_id",       "video_start_id",    "vit_path"};
constexpr std::string_view kNemotronNotes[] = {"kv_channels", "rotary_percent"};
constexpr std::string_view kStarcoder2Notes[] = {
    "activation_function",
    "attention_softmax_in_fp32",
    "layer_norm_epsilon",
    "mlp_type",
    "norm_type",
    "scale_attention_softmax_in_fp32",
    "scale_attn_weights"};

// Sorted by name. A field that is left out has the default in families.h.
constexpr std::array kFamilies = {
    Family{
        .name = "apertus",
        .gguf_name = "apertus",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .rope_theta = 12000000.0,
        .rope_parameters = kApertusRope,
        .activation = Activation::xielu,
        .gated = false,
        .context_tokens = 65536,
        .notes = kApertusNotes,
    },
    Family{
        .name = "arcee",
        .gguf_name = "arcee",
        .norm_eps = 1e-5,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .feed_forward_bias = kMlpBias,
        .activation = Activation::relu_squared,
        .gated = false,
        .context_tokens = 4096,
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "bitnet",
        .gguf_name = "bitnet",
        .norm_eps = 1e-5,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .attention_output_norm = true,
        .hidden_norm = true,
        .kv_heads = 5,
        .rope_theta = 500000.0,
        .activation = Activation::relu_squared,
        .gguf_activation = Activation::silu,
    },
    Family{
        .name = "cohere",
        .gguf_name = "command-r",
        .norm_placement = NormPlacement::parallel,
        .norm_kind = NormKind::layer,
        .norm_eps_field = "layer_norm_eps",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head_own,
        .qk_norm_rule = {"use_qk_norm"},
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .rope_layout = RopeLayout::interleaved,
        .rope_theta = 500000.0,
        .tied = true,
        .logit_scale = 0.0625,
        .context_tokens = 8192,
        .notes = kCohereNotes,
    },
    Family{
        .name = "cohere2",
        .gguf_name = "cohere2",
        .norm_placement = NormPlacement::parallel,
        .norm_kind = NormKind::layer,
        .norm_eps_field = "layer_norm_eps",
        .norm_eps = 1e-5,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .window = WindowRule::pattern,
        .window_tokens = 4096,
        .window_pattern = 4,
        .layer_types = true,
        .rope = RopeRule::windowed_only,
        .rope_layout = RopeLayout::interleaved,
        .tied = true,
        .logit_scale = 0.0625,
        .context_tokens = 8192,
        .notes = kCohereNotes,
        .gguf_window = WindowRule::pattern,
    },
    Family{
        .name = "ernie4_5",
        .gguf_name = "ernie4_5",
        .norm_eps = 1e-5,
        .qkv_bias = kUseBias,
        .output_bias = kUseBias,
        .feed_forward_bias = kUseBias,
        .kv_heads = 2,
        .head_dim = 128,
        .rope_layout = RopeLayout::interleaved,
        .rope_theta = 500000.0,
        .tied = true,
        .context_tokens = 131072,
    },
    Family{
        .name = "exaone4",
        .gguf_name = "exaone4",
        .norm_placement = NormPlacement::post,
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head,
        .kv_heads = 32,
        .window = WindowRule::pattern,
        .window_tokens = 4096,
        .window_pattern = 4,
        .layer_types = true,
        .rope = RopeRule::windowed_if_any,
        .gguf_window = WindowRule::pattern,
    },
    Family{
        .name = "gemma",
        .gguf_name = "gemma",
        .norm_plus_one = true,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .kv_heads = 16,
        .head_dim = 256,
        .activation = Activation::gelu_tanh,
        .gelu_means_tanh = true,
        .tied = true,
        .embedding_scale_sqrt_dim = true,
        .context_tokens = 8192,
    },
    Family{
        .name = "gemma2",
        .gguf_name = "gemma2",
        .norm_placement = NormPlacement::sandwich,
        .norm_plus_one = true,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .kv_heads = 4,
        .head_dim = 256,
        .scale = ScaleRule::query_scalar,
        .window = WindowRule::pattern,
        .window_tokens = 4096,
        .window_pattern = 2,
        .layer_types = true,
        .attention_softcap_field = true,
        .attention_softcap = 50.0f,
        .logit_softcap_field = true,
        .logit_softcap = 30.0f,
        .activation = Activation::gelu_tanh,
        .activation_field = "hidden_activation",
        .tied = true,
        .embedding_scale_sqrt_dim = true,
        .context_tokens = 8192,
        .gguf_window = WindowRule::pattern,
        .gguf_window_tokens = 4096,
        .gguf_wide_scale_layers = 46,
    },
    Family{
        .name = "gemma3_text",
        .gguf_name = "gemma3",
        .norm_placement = NormPlacement::sandwich,
        .norm_plus_one = true,
        .qk_norm = QkNorm::per_head,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .kv_heads = 4,
        .head_dim = 256,
        .scale = ScaleRule::query_scalar,
        .window = WindowRule::pattern,
        .window_tokens = 4096,
        .window_pattern = 6,
        .layer_types = true,
        .logit_softcap_field = true,
        .rope_theta = 1000000.0,
        .local_rope_theta = 10000.0,
        .activation = Activation::gelu_tanh,
        .activation_field = "hidden_activation",
        .tied = true,
        .embedding_scale_sqrt_dim = true,
        .context_tokens = 131072,
        // The text_config of the multimodal checkpoints leaves most out.
        .sizes =
            {.dim = 2304,
             .hidden = 9216,
             .layers = 26,
             .heads = 8,
             .vocab = 262208},
        .gguf_window = WindowRule::pattern,
        .gguf_wide_scale_layers = 62,
    },
    Family{
        .name = "glm",
        .gguf_name = "chatglm",
        .norm_eps = 0.00000015625,
        .qkv_bias = {"attention_bias", true},
        .kv_heads = 2,
        .head_dim = 128,
        .rope_layout = RopeLayout::interleaved,
        .partial_rotary = true,
        .partial_rotary_share = 0.5,
        .context_tokens = 131072,
    },
    Family{
        .name = "glm4",
        .gguf_name = "glm4",
        .norm_placement = NormPlacement::sandwich,
        .norm_eps = 0.00000015625,
        .qkv_bias = {"attention_bias", true},
        .kv_heads = 2,
        .head_dim = 128,
        .rope_layout = RopeLayout::interleaved,
        .partial_rotary = true,
        .partial_rotary_share = 0.5,
        .context_tokens = 131072,
    },
    Family{
        .name = "gpt2",
        .gguf_name = "gpt2",
        .norm_kind = NormKind::layer,
        .norm_bias = true,
        .norm_eps_field = "layer_norm_epsilon",
        .norm_eps = 1e-5,
        .qkv_bias = kAlways,
        .output_bias = kAlways,
        .feed_forward_bias = kAlways,
        .scale = ScaleRule::flags,
        .rope = RopeRule::none,
        .activation = Activation::gelu_tanh,
        .activation_field = "activation_function",
        .gated = false,
        .tied = true,
        .learned_positions = true,
        .context_tokens = 1024,
        .names =
            {.dim = "n_embd",
             .hidden = "n_inner",
             .layers = "n_layer",
             .heads = "n_head",
             .context = "n_positions"},
        .hidden_per_dim = 4,
        .notes = kGpt2Notes,
    },
    Family{
        .name = "gpt_neox",
        .gguf_name = "gptneox",
        .parallel_rule =
            ParallelRule{
                {"use_parallel_residual", true},
                NormPlacement::parallel_own_norms},
        .norm_kind = NormKind::layer,
        .norm_bias = true,
        .norm_eps_field = "layer_norm_eps",
        .norm_eps = 1e-5,
        .qkv_bias = {"attention_bias", true},
        .output_bias = {"attention_bias", true},
        .feed_forward_bias = kAlways,
        .rope_theta_field = "rotary_emb_base",
        .partial_rotary = true,
        .partial_rotary_field = "rotary_pct",
        .partial_rotary_share = 0.25,
        .activation = Activation::gelu,
        .gated = false,
    },
    Family{
        .name = "granite",
        .gguf_name = "granite",
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .feed_forward_bias = kMlpBias,
        .scale = ScaleRule::multiplier,
        .multipliers = true,
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "helium",
        .norm_eps = 1e-8,
        .qkv_bias = kAttentionBias,
        .feed_forward_bias = kMlpBias,
        .kv_heads = 20,
        .head_dim = 128,
        .rope_layout = RopeLayout::interleaved,
        .rope_theta = 100000.0,
        .context_tokens = 4096,
    },
    Family{
        .name = "hunyuan_v1_dense",
        .gguf_name = "hunyuan-dense",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head,
        .qk_norm_place = QkNormPlace::after_rope,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .ntk_alpha = true,
        .notes = kHunyuanNotes,
    },
    Family{
        .name = "llama",
        .gguf_name = "llama",
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .feed_forward_bias = kMlpBias,
        .gguf_rope_layout = RopeLayout::interleaved,
        // Mistral's files are of this architecture.
        .gguf_window = WindowRule::all,
    },
    Family{
        .name = "ministral",
        .kv_heads = 8,
        .window = WindowRule::all,
        .window_tokens = 4096,
        .layer_types = true,
        .context_tokens = 131072,
    },
    Family{
        .name = "ministral3",
        .gguf_name = "mistral3",
        .norm_eps = 1e-5,
        .kv_heads = 8,
        .head_dim = 128,
        .window = WindowRule::all,
        .rope_parameters = kMinistral3Rope,
        .query_temperature = true,
        .context_tokens = 262144,
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "mistral",
        .kv_heads = 8,
        .window = WindowRule::all,
        .window_tokens = 4096,
        .context_tokens = 131072,
    },
    Family{
        .name = "nemotron",
        .gguf_name = "nemotron",
        .norm_kind = NormKind::layer,
        .norm_bias = true,
        .norm_plus_one = true,
        .norm_eps_field = "norm_eps",
        .norm_eps = 1e-5,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .feed_forward_bias = kMlpBias,
        .partial_rotary = true,
        .partial_rotary_share = 0.5,
        .activation = Activation::relu_squared,
        .gated = false,
        .context_tokens = 4096,
        .notes = kNemotronNotes,
    },
    Family{
        .name = "olmo",
        .gguf_name = "olmo",
        .norm_kind = NormKind::layer,
        .norm_affine = false,
        .norm_eps_field = {},
        .norm_eps = 1e-5,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .clip_field = "clip_qkv",
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "olmo2",
        // Its GGUF files are read as those of olmo3, which can be windowed.
        .norm_placement = NormPlacement::post,
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::whole,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
    },
    Family{
        .name = "olmo3",
        .gguf_name = "olmo2",
        .norm_placement = NormPlacement::post,
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::whole,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .window = WindowRule::pattern,
        .window_tokens = 4096,
        .window_pattern = 4,
        .layer_types = true,
        .rope_theta = 500000.0,
        .local_rope_theta = 500000.0,
        .gguf_window = WindowRule::pattern,
        .gguf_local_theta_is_global = true,
    },
    Family{
        .name = "phi",
        .gguf_name = "phi2",
        .norm_placement = NormPlacement::parallel,
        .norm_kind = NormKind::layer,
        .norm_bias = true,
        .norm_eps_field = "layer_norm_eps",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head,
        .qk_norm_rule = {"qk_layernorm"},
        .qkv_bias = kAlways,
        .output_bias = kAlways,
        .feed_forward_bias = kAlways,
        .head_bias = kAlways,
        .partial_rotary = true,
        .partial_rotary_share = 0.5,
        .activation = Activation::gelu_tanh,
        .gated = false,
    },
    Family{
        .name = "phi3",
        .gguf_name = "phi3",
        .norm_eps = 1e-5,
        .window = WindowRule::all,
        .partial_rotary = true,
        .longrope_original_context = 4096,
        .context_tokens = 4096,
        .gguf_window = WindowRule::all,
    },
    Family{
        .name = "qwen2",
        .gguf_name = "qwen2",
        .qkv_bias = kAlways,
        .kv_heads = 32,
        .window = WindowRule::past_first,
        .window_tokens = 4096,
        .layer_types = true,
        .window_switch = true,
        .context_tokens = 32768,
    },
    Family{
        .name = "qwen3",
        .gguf_name = "qwen3",
        .qk_norm = QkNorm::per_head,
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .kv_heads = 32,
        .head_dim = 128,
        .window = WindowRule::past_first,
        .window_tokens = 4096,
        .layer_types = true,
        .window_switch = true,
        .context_tokens = 32768,
    },
    Family{
        .name = "seed_oss",
        .gguf_name = "seed_oss",
        .qkv_bias = {"attention_bias", true},
        .output_bias = {"attention_out_bias"},
        .feed_forward_bias = kMlpBias,
        .kv_heads = 8,
        .head_dim = 128,
        .context_tokens = 524288,
    },
    Family{
        .name = "smollm3",
        .gguf_name = "smollm3",
        .qkv_bias = kAttentionBias,
        .output_bias = kAttentionBias,
        .feed_forward_bias = kMlpBias,
        .kv_heads = 4,
        .window = WindowRule::without_rope,
        .layer_types = true,
        .window_switch = true,
        .rope_theta = 2000000.0,
        .no_rope_interval = 4,
        .tied = true,
        .context_tokens = 32768,
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "stablelm",
        .gguf_name = "stablelm",
        .parallel_rule =
            ParallelRule{{"use_parallel_residual"}, NormPlacement::parallel},
        .norm_kind = NormKind::layer,
        .norm_bias = true,
        .norm_eps_field = "layer_norm_eps",
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::per_head_own,
        .qk_norm_rule = {"qk_layernorm"},
        .qk_norm_bias = false,
        .qkv_bias = {"use_qkv_bias"},
        .kv_heads = 32,
        .partial_rotary = true,
        .partial_rotary_share = 0.25,
        .context_tokens = 4096,
    },
    Family{
        .name = "starcoder2",
        .gguf_name = "starcoder2",
        .norm_kind = NormKind::layer,
        .norm_bias = true,
        .norm_eps_field = "norm_epsilon",
        .norm_eps = 1e-5,
        .qkv_bias = {"use_bias", true},
        .output_bias = {"use_bias", true},
        .feed_forward_bias = {"use_bias", true},
        .kv_heads = 2,
        .window = WindowRule::all,
        .activation = Activation::gelu_tanh,
        .gated = false,
        .tied = true,
        .context_tokens = 4096,
        .notes = kStarcoder2Notes,
    },
};

// Notes about files, training, generation and the program that wrote them.
// Sorted.
constexpr std::array<std::string_view, 111> kHarmless = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_experts_implementation",
    "_flash_attn_2_enabled",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "attn_implementation",
    "attn_implementation_internal",
    "auto_map",
    "aux_loss_alpha",
    "bad_words_ids",
    "base_model_name_or_path",
    "begin_suppress_tokens",
    "boi_token_id",
    "boi_token_index",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "conversion_details",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eoi_token_id",
    "eoi_token_index",
    "eos_token_id",
    "ep_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "image_token_id",
    "image_token_index",
    "initial_context_length",
    "initializer_range",
    "input_jitter_noise",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "language",
    "length_penalty",
    "license",
    "max_length",
    "max_sequence_length",
    "max_window_layers",
    "min_length",
    "min_p",
    "mlx_lm_version",
    "model_max_length",
    "model_type",
    "moe_capacity",
    "mtp_transformer_layers",
    "multi_token_pred_lambda",
    "neftune_noise_alpha",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_logits_to_keep",
    "num_mtp_modules",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "seq_aux",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "tokenizer_model_max_length",
    "tokenizer_padding_side",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attn",
    "use_mtp",
    "use_return_dict",
    "z_loss_coefficient",
};

static_assert(std::is_sorted(kHarmless.begin(), kHarmless.end()));

bool is_dropout(std::string_view name) {
  for (std::string_view end : {"dropout", "_pdrop", "_drop", "dropout_prob"}) {
    if (name.size() >= end.size() &&
        name.substr(name.size() - end.size()) == end) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::span<const Family> families() {
  static const std::vector<Family> all = [] {
    std::vector<Family> out(kFamilies.begin(), kFamilies.end());
    for (const auto more : {mixture_families(), recurrent_families()}) {
      out.insert(out.end(), more.begin(), more.end());
    }
    std::sort(out.begin(), out.end(), [](const Family& a, const Family& b) {
      return a.name < b.name;
    });
    return out;
  }();
  return all;
}

const Family* find_family(std::string_view name) {
  for (const Family& family : families()) {
    if (family.name == name) {
      return &family;
    }
  }
  return nullptr;
}

const Family* find_gguf_family(std::string_view architecture) {
  for (const Family& family : families()) {
    if (!architecture.empty() && (family.gguf_name == architecture ||
                                  family.gguf_other_name == architecture)) {
      return &family;
    }
  }
  return nullptr;
}

std::vector<std::string> gguf_architectures() {
  std::vector<std::string> out;
  for (const Family& family : families()) {
    for (std::string_view name : {family.gguf_name, family.gguf_other_name}) {
      if (!name.empty()) {
        out.emplace_back(name);
      }
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool is_harmless_field(std::string_view name) {
  return is_dropout(name) ||
         std::binary_search(kHarmless.begin(), kHarmless.end(), name);
}

}  // namespace roofline
