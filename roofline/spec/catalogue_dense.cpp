// Other models whose layers are all dense attention.
#include "roofline/spec/catalogue_rows.h"

#include <array>

namespace roofline {

namespace {

constexpr std::array kDenseRows = {
    CatalogueEntry{
        "deepseek-r1-distill-qwen-1.5b",
        "DeepSeek R1 Distill Qwen 1.5B",
        R"({"model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960,
"num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads":
2, "vocab_size": 151936, "max_position_embeddings": 131072, "rope_theta":
1000000.0})",
        1.777},
    CatalogueEntry{
        "deepseek-r1-distill-qwen-14b",
        "DeepSeek R1 Distill Qwen 14B",
        R"({"model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 13824,
"num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 152064, "max_position_embeddings": 131072, "rope_theta":
1000000.0})",
        14.77},
    CatalogueEntry{
        "deepseek-r1-distill-qwen-32b",
        "DeepSeek R1 Distill Qwen 32B",
        R"({"model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27648,
"num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 152064, "max_position_embeddings": 131072, "rope_theta":
1000000.0})",
        32.764},
    CatalogueEntry{
        "deepseek-r1-distill-qwen-7b",
        "DeepSeek R1 Distill Qwen 7B",
        R"({"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads":
4, "vocab_size": 152064, "max_position_embeddings": 131072, "rope_theta":
1000000.0})",
        7.616},
    CatalogueEntry{
        "gemma-2-27b",
        "Gemma 2 27B",
        R"({"model_type": "gemma2", "hidden_size": 4608, "intermediate_size": 36864,
"num_hidden_layers": 46, "num_attention_heads": 32, "num_key_value_heads":
16, "vocab_size": 256000, "max_position_embeddings": 8192, "head_dim":
128, "query_pre_attn_scalar": 144, "sliding_window": 4096})",
        27.227},
    CatalogueEntry{
        "gemma-2-2b",
        "Gemma 2 2B",
        R"({"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216,
"num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads":
4, "vocab_size": 256000, "max_position_embeddings": 8192, "head_dim": 256,
"query_pre_attn_scalar": 256, "sliding_window": 4096})",
        2.614},
    CatalogueEntry{
        "gemma-2-9b",
        "Gemma 2 9B",
        R"({"model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336,
"num_hidden_layers": 42, "num_attention_heads": 16, "num_key_value_heads":
8, "vocab_size": 256000, "max_position_embeddings": 8192, "head_dim": 256,
"query_pre_attn_scalar": 256, "sliding_window": 4096})",
        9.242},
    CatalogueEntry{
        "gemma-2b",
        "Gemma 2B",
        R"({"model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384,
"num_hidden_layers": 18, "num_attention_heads": 8, "num_key_value_heads":
1, "vocab_size": 256000, "max_position_embeddings": 8192, "head_dim": 256})",
        2.506},
    CatalogueEntry{
        "gemma-3-12b",
        "Gemma 3 12B (its language model)",
        R"({"model_type": "gemma3_text", "hidden_size": 3840, "intermediate_size":
15360, "num_hidden_layers": 48, "num_attention_heads": 16,
"num_key_value_heads": 8, "vocab_size": 262208, "max_position_embeddings":
131072, "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window":
1024, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})",
        11.766},
    CatalogueEntry{
        "gemma-3-1b",
        "Gemma 3 1B",
        R"({"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size":
6912, "num_hidden_layers": 26, "num_attention_heads": 4,
"num_key_value_heads": 1, "vocab_size": 262144, "max_position_embeddings":
32768, "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window":
512})",
        1.0},
    CatalogueEntry{
        "gemma-3-270m",
        "Gemma 3 270M",
        R"({"model_type": "gemma3_text", "hidden_size": 640, "intermediate_size":
2048, "num_hidden_layers": 18, "num_attention_heads": 4,
"num_key_value_heads": 1, "vocab_size": 262144, "max_position_embeddings":
32768, "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window":
512})",
        0.268},
    CatalogueEntry{
        "gemma-3-27b",
        "Gemma 3 27B (its language model)",
        R"({"model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size":
21504, "num_hidden_layers": 62, "num_attention_heads": 32,
"num_key_value_heads": 16, "vocab_size": 262208,
"max_position_embeddings": 131072, "head_dim": 128,
"query_pre_attn_scalar": 168, "sliding_window": 1024, "rope_scaling":
{"rope_type": "linear", "factor": 8.0}})",
        27.009},
    CatalogueEntry{
        "gemma-3-4b",
        "Gemma 3 4B (its language model)",
        R"({"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size":
10240, "num_hidden_layers": 34, "num_attention_heads": 8,
"num_key_value_heads": 4, "vocab_size": 262208, "max_position_embeddings":
131072, "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window":
1024, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})",
        3.88},
    CatalogueEntry{
        "gemma-7b",
        "Gemma 7B",
        R"({"model_type": "gemma", "hidden_size": 3072, "intermediate_size": 24576,
"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads":
16, "vocab_size": 256000, "max_position_embeddings": 8192, "head_dim":
256})",
        8.538},
    CatalogueEntry{
        "granite-3.0-2b",
        "Granite 3.0 2B",
        R"({"model_type": "granite", "hidden_size": 2048, "intermediate_size": 8192,
"num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 49155, "max_position_embeddings": 4096,
"attention_multiplier": 0.015625, "embedding_multiplier": 12.0,
"residual_multiplier": 0.22, "logits_scaling": 8.0, "rope_theta":
5000000.0, "tie_word_embeddings": true})",
        2.534},
    CatalogueEntry{
        "granite-3.1-2b",
        "Granite 3.1 2B",
        R"({"model_type": "granite", "hidden_size": 2048, "intermediate_size": 8192,
"num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 49155, "max_position_embeddings": 131072,
"attention_multiplier": 0.015625, "embedding_multiplier": 12.0,
"residual_multiplier": 0.22, "logits_scaling": 8.0, "rope_theta":
5000000.0, "tie_word_embeddings": true})",
        2.534},
    CatalogueEntry{
        "granite-3.1-8b",
        "Granite 3.1 8B",
        R"({"model_type": "granite", "hidden_size": 4096, "intermediate_size": 12800,
"num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 49155, "max_position_embeddings": 131072,
"attention_multiplier": 0.0078125, "embedding_multiplier": 12.0,
"residual_multiplier": 0.22, "logits_scaling": 16.0, "rope_theta":
10000000.0, "tie_word_embeddings": true})",
        8.171},
    CatalogueEntry{
        "granite-3.3-8b",
        "Granite 3.3 8B",
        R"({"model_type": "granite", "hidden_size": 4096, "intermediate_size": 12800,
"num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 49159, "max_position_embeddings": 131072,
"attention_multiplier": 0.0078125, "embedding_multiplier": 12.0,
"residual_multiplier": 0.22, "logits_scaling": 16.0, "rope_theta":
10000000.0, "tie_word_embeddings": true})",
        8.171},
    CatalogueEntry{
        "olmo-2-13b",
        "OLMo 2 13B",
        R"({"model_type": "olmo2", "hidden_size": 5120, "intermediate_size": 13824,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
40, "vocab_size": 100352, "max_position_embeddings": 4096, "rope_theta":
500000, "rms_norm_eps": 1e-06})",
        13.716},
    CatalogueEntry{
        "olmo-2-1b",
        "OLMo 2 1B",
        R"({"model_type": "olmo2", "hidden_size": 2048, "intermediate_size": 8192,
"num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads":
16, "vocab_size": 100352, "max_position_embeddings": 4096, "rope_theta":
500000, "rms_norm_eps": 1e-06})",
        1.485},
    CatalogueEntry{
        "olmo-2-32b",
        "OLMo 2 32B",
        R"({"model_type": "olmo2", "hidden_size": 5120, "intermediate_size": 27648,
"num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 100352, "max_position_embeddings": 4096, "rope_theta":
500000, "rms_norm_eps": 1e-06})",
        32.234},
    CatalogueEntry{
        "olmo-2-7b",
        "OLMo 2 7B",
        R"({"model_type": "olmo2", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 100352, "max_position_embeddings": 4096, "rope_theta":
500000, "rms_norm_eps": 1e-06})",
        7.299},
    CatalogueEntry{
        "phi-3-medium",
        "Phi 3 medium (4k)",
        R"({"model_type": "phi3", "hidden_size": 5120, "intermediate_size": 17920,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
10, "vocab_size": 32064, "max_position_embeddings": 4096,
"sliding_window": 2047})",
        13.96},
    CatalogueEntry{
        "phi-3-medium-128k",
        "Phi 3 medium (128k)",
        R"({"model_type": "phi3", "hidden_size": 5120, "intermediate_size": 17920,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
10, "vocab_size": 32064, "max_position_embeddings": 131072,
"original_max_position_embeddings": 4096, "sliding_window": null})",
        13.96},
    CatalogueEntry{
        "phi-3-mini",
        "Phi 3 mini (4k)",
        R"({"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 32064, "max_position_embeddings": 4096,
"sliding_window": 2047})",
        3.821},
    CatalogueEntry{
        "phi-3-mini-128k",
        "Phi 3 mini (128k)",
        R"({"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 32064, "max_position_embeddings": 131072,
"original_max_position_embeddings": 4096, "sliding_window": null})",
        3.821},
    CatalogueEntry{
        "phi-3.5-mini",
        "Phi 3.5 mini",
        R"({"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 32064, "max_position_embeddings": 131072,
"original_max_position_embeddings": 4096, "sliding_window": null})",
        3.821},
    CatalogueEntry{
        "phi-4",
        "Phi 4 14B",
        R"({"model_type": "phi3", "hidden_size": 5120, "intermediate_size": 17920,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
10, "vocab_size": 100352, "max_position_embeddings": 16384, "rope_theta":
250000, "sliding_window": null})",
        14.66},
    CatalogueEntry{
        "phi-4-mini",
        "Phi 4 mini",
        R"({"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192,
"num_hidden_layers": 32, "num_attention_heads": 24, "num_key_value_heads":
8, "vocab_size": 200064, "max_position_embeddings": 131072,
"original_max_position_embeddings": 4096, "partial_rotary_factor": 0.75, "sliding_window": null,
"tie_word_embeddings": true})",
        3.836},
    CatalogueEntry{
        "qwen2.5-0.5b",
        "Qwen2.5 0.5B",
        R"({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
"num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads":
2, "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta":
1000000.0, "tie_word_embeddings": true})",
        0.494},
    CatalogueEntry{
        "qwen2.5-1.5b",
        "Qwen2.5 1.5B",
        R"({"model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960,
"num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads":
2, "vocab_size": 151936, "max_position_embeddings": 131072, "rope_theta":
1000000.0, "tie_word_embeddings": true})",
        1.544},
    CatalogueEntry{
        "qwen2.5-14b",
        "Qwen2.5 14B",
        R"({"model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 13824,
"num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 152064, "max_position_embeddings": 131072, "rope_theta":
1000000.0})",
        14.77},
    CatalogueEntry{
        "qwen2.5-32b",
        "Qwen2.5 32B",
        R"({"model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27648,
"num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 152064, "max_position_embeddings": 131072, "rope_theta":
1000000.0})",
        32.764},
    CatalogueEntry{
        "qwen2.5-3b",
        "Qwen2.5 3B",
        R"({"model_type": "qwen2", "hidden_size": 2048, "intermediate_size": 11008,
"num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads":
2, "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta":
1000000.0, "tie_word_embeddings": true})",
        3.086},
    CatalogueEntry{
        "qwen2.5-72b",
        "Qwen2.5 72B",
        R"({"model_type": "qwen2", "hidden_size": 8192, "intermediate_size": 29568,
"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 152064, "max_position_embeddings": 131072, "rope_theta":
1000000.0})",
        72.706},
    CatalogueEntry{
        "qwen2.5-7b",
        "Qwen2.5 7B",
        R"({"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads":
4, "vocab_size": 152064, "max_position_embeddings": 131072, "rope_theta":
1000000.0})",
        7.616},
    CatalogueEntry{
        "qwen2.5-coder-0.5b",
        "Qwen2.5 Coder 0.5B",
        R"({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
"num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads":
2, "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta":
1000000.0, "tie_word_embeddings": true})",
        0.494},
    CatalogueEntry{
        "qwen2.5-coder-1.5b",
        "Qwen2.5 Coder 1.5B",
        R"({"model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960,
"num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads":
2, "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta":
1000000.0, "tie_word_embeddings": true})",
        1.544},
    CatalogueEntry{
        "qwen2.5-coder-14b",
        "Qwen2.5 Coder 14B",
        R"({"model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 13824,
"num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 152064, "max_position_embeddings": 32768, "rope_theta":
1000000.0})",
        14.77},
    CatalogueEntry{
        "qwen2.5-coder-32b",
        "Qwen2.5 Coder 32B",
        R"({"model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27648,
"num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 152064, "max_position_embeddings": 32768, "rope_theta":
1000000.0})",
        32.764},
    CatalogueEntry{
        "qwen2.5-coder-3b",
        "Qwen2.5 Coder 3B",
        R"({"model_type": "qwen2", "hidden_size": 2048, "intermediate_size": 11008,
"num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads":
2, "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta":
1000000.0, "tie_word_embeddings": true})",
        3.086},
    CatalogueEntry{
        "qwen2.5-coder-7b",
        "Qwen2.5 Coder 7B",
        R"({"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads":
4, "vocab_size": 152064, "max_position_embeddings": 32768, "rope_theta":
1000000.0})",
        7.616},
    CatalogueEntry{
        "qwen3-0.6b",
        "Qwen3 0.6B",
        R"({"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072,
"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads":
8, "vocab_size": 151936, "max_position_embeddings": 40960, "head_dim":
128, "rope_theta": 1000000.0, "tie_word_embeddings": true})",
        0.596},
    CatalogueEntry{
        "qwen3-1.7b",
        "Qwen3 1.7B",
        R"({"model_type": "qwen3", "hidden_size": 2048, "intermediate_size": 6144,
"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads":
8, "vocab_size": 151936, "max_position_embeddings": 40960, "head_dim":
128, "rope_theta": 1000000.0, "tie_word_embeddings": true})",
        1.721},
    CatalogueEntry{
        "qwen3-14b",
        "Qwen3 14B",
        R"({"model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 17408,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 151936, "max_position_embeddings": 40960, "head_dim":
128, "rope_theta": 1000000.0})",
        14.768},
    CatalogueEntry{
        "qwen3-32b",
        "Qwen3 32B",
        R"({"model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 25600,
"num_hidden_layers": 64, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 151936, "max_position_embeddings": 40960, "head_dim":
128, "rope_theta": 1000000.0})",
        32.762},
    CatalogueEntry{
        "qwen3-4b",
        "Qwen3 4B",
        R"({"model_type": "qwen3", "hidden_size": 2560, "intermediate_size": 9728,
"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 151936, "max_position_embeddings": 40960, "head_dim":
128, "rope_theta": 1000000.0, "tie_word_embeddings": true})",
        4.022},
    CatalogueEntry{
        "qwen3-4b-2507",
        "Qwen3 4B of July 2025",
        R"({"model_type": "qwen3", "hidden_size": 2560, "intermediate_size": 9728,
"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 151936, "max_position_embeddings": 262144, "head_dim":
128, "rope_theta": 5000000.0, "tie_word_embeddings": true})",
        4.022},
    CatalogueEntry{
        "qwen3-8b",
        "Qwen3 8B",
        R"({"model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288,
"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 151936, "max_position_embeddings": 40960, "head_dim":
128, "rope_theta": 1000000.0})",
        8.191},
    CatalogueEntry{
        "qwq-32b",
        "QwQ 32B",
        R"({"model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27648,
"num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 152064, "max_position_embeddings": 40960, "rope_theta":
1000000.0})",
        32.764},
    CatalogueEntry{
        "smollm3-3b",
        "SmolLM3 3B",
        R"({"model_type": "smollm3", "hidden_size": 2048, "intermediate_size": 11008,
"num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads":
4, "vocab_size": 128256, "max_position_embeddings": 65536, "rope_theta":
5000000.0, "no_rope_layer_interval": 4, "tie_word_embeddings": true})",
        3.075},
};

}  // namespace

std::span<const CatalogueEntry> dense_rows() {
  return kDenseRows;
}

}  // namespace roofline
