#include "roofline/spec/families.h"

#include <algorithm>
#include <array>

namespace roofline {

namespace {

// Sorted by name. A field that is left out has the default in families.h.
constexpr std::array kFamilies = {
    Family{
        .name = "gemma",
        .gguf_name = "gemma",
        .norm_plus_one = true,
        .bias = BiasRule::field,
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
        .bias = BiasRule::field,
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
        .bias = BiasRule::field,
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
        .name = "granite",
        .gguf_name = "granite",
        .bias = BiasRule::field,
        .scale = ScaleRule::multiplier,
        .feed_forward_bias_field = true,
        .multipliers = true,
        .gguf_rope_layout = RopeLayout::interleaved,
    },
    Family{
        .name = "llama",
        .gguf_name = "llama",
        .bias = BiasRule::field,
        .feed_forward_bias_field = true,
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
        .name = "mistral",
        .kv_heads = 8,
        .window = WindowRule::all,
        .window_tokens = 4096,
        .context_tokens = 131072,
    },
    Family{
        .name = "olmo2",
        .gguf_name = "olmo2",
        .norm_placement = NormPlacement::post,
        .norm_eps = 1e-5,
        .qk_norm = QkNorm::whole,
        .bias = BiasRule::field,
    },
    Family{
        .name = "phi3",
        .gguf_name = "phi3",
        .norm_eps = 1e-5,
        .window = WindowRule::all,
        .partial_rotary = true,
        .longrope_original_context = 4096,
        .context_tokens = 4096,
        .gguf_packed_gate_up = true,
        .gguf_window = WindowRule::all,
    },
    Family{
        .name = "qwen2",
        .gguf_name = "qwen2",
        .bias = BiasRule::qkv_always,
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
        .bias = BiasRule::field,
        .kv_heads = 32,
        .head_dim = 128,
        .window = WindowRule::past_first,
        .window_tokens = 4096,
        .layer_types = true,
        .window_switch = true,
        .context_tokens = 32768,
    },
    Family{
        .name = "smollm3",
        .gguf_name = "smollm3",
        .bias = BiasRule::field,
        .kv_heads = 4,
        .window = WindowRule::without_rope,
        .layer_types = true,
        .window_switch = true,
        .rope_theta = 2000000.0,
        .no_rope_interval = 4,
        .feed_forward_bias_field = true,
        .tied = true,
        .context_tokens = 32768,
        .gguf_rope_layout = RopeLayout::interleaved,
    },
};

// Notes about files, training, generation and the program that wrote them.
// Sorted.
constexpr std::array<std::string_view, 98> kHarmless = {
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
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "image_token_id",
    "image_token_index",
    "initializer_range",
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
    "neftune_noise_alpha",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_logits_to_keep",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
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
    "sep_token_id",
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
  return kFamilies;
}

const Family* find_family(std::string_view name) {
  for (const Family& family : kFamilies) {
    if (family.name == name) {
      return &family;
    }
  }
  return nullptr;
}

const Family* find_gguf_family(std::string_view architecture) {
  for (const Family& family : kFamilies) {
    if (!architecture.empty() && family.gguf_name == architecture) {
      return &family;
    }
  }
  return nullptr;
}

std::vector<std::string> gguf_architectures() {
  std::vector<std::string> out;
  for (const Family& family : kFamilies) {
    if (!family.gguf_name.empty()) {
      out.emplace_back(family.gguf_name);
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
