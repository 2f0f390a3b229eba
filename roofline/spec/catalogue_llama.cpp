// Models of the shape of Llama, as in their published config.json.
#include "roofline/spec/catalogue_rows.h"

#include <array>

namespace roofline {

namespace {

constexpr std::array kLlamaRows = {
    CatalogueEntry{
        "codellama-13b",
        "Code Llama 13B",
        R"({"model_type": "llama", "hidden_size": 5120, "intermediate_size": 13824,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
40, "vocab_size": 32016, "max_position_embeddings": 16384, "rope_theta":
1000000.0})",
        13.016},
    CatalogueEntry{
        "codellama-34b",
        "Code Llama 34B",
        R"({"model_type": "llama", "hidden_size": 8192, "intermediate_size": 22016,
"num_hidden_layers": 48, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 32000, "max_position_embeddings": 16384, "rope_theta":
1000000.0})",
        33.744},
    CatalogueEntry{
        "codellama-7b",
        "Code Llama 7B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 32016, "max_position_embeddings": 16384, "rope_theta":
1000000.0})",
        6.739},
    CatalogueEntry{
        "deepseek-coder-6.7b",
        "DeepSeek Coder 6.7B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 32256, "max_position_embeddings": 16384, "rope_theta":
100000.0})",
        6.74},
    CatalogueEntry{
        "deepseek-llm-7b",
        "DeepSeek LLM 7B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 30, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 102400, "max_position_embeddings": 4096})",
        6.91},
    CatalogueEntry{
        "deepseek-r1-distill-llama-70b",
        "DeepSeek R1 Distill Llama 70B",
        R"({"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta":
500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
"low_freq_factor": 1.0, "high_freq_factor": 4.0,
"original_max_position_embeddings": 8192}})",
        70.554},
    CatalogueEntry{
        "deepseek-r1-distill-llama-8b",
        "DeepSeek R1 Distill Llama 8B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta":
500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
"low_freq_factor": 1.0, "high_freq_factor": 4.0,
"original_max_position_embeddings": 8192}})",
        8.03},
    CatalogueEntry{
        "llama-13b",
        "LLaMA 13B",
        R"({"model_type": "llama", "hidden_size": 5120, "intermediate_size": 13824,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
40, "vocab_size": 32000, "max_position_embeddings": 2048})",
        13.016},
    CatalogueEntry{
        "llama-2-13b",
        "Llama 2 13B",
        R"({"model_type": "llama", "hidden_size": 5120, "intermediate_size": 13824,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
40, "vocab_size": 32000, "max_position_embeddings": 4096})",
        13.016},
    CatalogueEntry{
        "llama-2-33b",
        "LLaMA 1's 33B shape (Llama 2 has no such size)",
        R"({"model_type": "llama", "hidden_size": 6656, "intermediate_size": 17920,
"num_hidden_layers": 60, "num_attention_heads": 52, "num_key_value_heads":
52, "vocab_size": 32000, "max_position_embeddings": 4096})",
        32.529},
    CatalogueEntry{
        "llama-2-70b",
        "Llama 2 70B",
        R"({"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 32000, "max_position_embeddings": 4096})",
        68.977},
    CatalogueEntry{
        "llama-2-7b",
        "Llama 2 7B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 32000, "max_position_embeddings": 4096})",
        6.738},
    CatalogueEntry{
        "llama-3-70b",
        "Llama 3 70B",
        R"({"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 8192, "rope_theta":
500000.0})",
        70.554},
    CatalogueEntry{
        "llama-3-8b",
        "Llama 3 8B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 8192, "rope_theta":
500000.0})",
        8.03},
    CatalogueEntry{
        "llama-3.1-405b",
        "Llama 3.1 405B",
        R"({"model_type": "llama", "hidden_size": 16384, "intermediate_size": 53248,
"num_hidden_layers": 126, "num_attention_heads": 128,
"num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings":
131072, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3",
"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
"original_max_position_embeddings": 8192}})",
        405.853},
    CatalogueEntry{
        "llama-3.1-70b",
        "Llama 3.1 70B",
        R"({"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta":
500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
"low_freq_factor": 1.0, "high_freq_factor": 4.0,
"original_max_position_embeddings": 8192}})",
        70.554},
    CatalogueEntry{
        "llama-3.1-8b",
        "Llama 3.1 8B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta":
500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
"low_freq_factor": 1.0, "high_freq_factor": 4.0,
"original_max_position_embeddings": 8192}})",
        8.03},
    CatalogueEntry{
        "llama-3.2-1b",
        "Llama 3.2 1B",
        R"({"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
"num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 131072, "head_dim":
64, "tie_word_embeddings": true, "rope_theta": 500000.0, "rope_scaling":
{"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})",
        1.236},
    CatalogueEntry{
        "llama-3.2-3b",
        "Llama 3.2 3B",
        R"({"model_type": "llama", "hidden_size": 3072, "intermediate_size": 8192,
"num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 131072, "head_dim":
128, "tie_word_embeddings": true, "rope_theta": 500000.0, "rope_scaling":
{"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})",
        3.213},
    CatalogueEntry{
        "llama-3.3-70b",
        "Llama 3.3 70B",
        R"({"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta":
500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
"low_freq_factor": 1.0, "high_freq_factor": 4.0,
"original_max_position_embeddings": 8192}})",
        70.554},
    CatalogueEntry{
        "llama-30b",
        "LLaMA 30B (also called 33B)",
        R"({"model_type": "llama", "hidden_size": 6656, "intermediate_size": 17920,
"num_hidden_layers": 60, "num_attention_heads": 52, "num_key_value_heads":
52, "vocab_size": 32000, "max_position_embeddings": 2048})",
        32.529},
    CatalogueEntry{
        "llama-33b",
        "LLaMA 33B",
        R"({"model_type": "llama", "hidden_size": 6656, "intermediate_size": 17920,
"num_hidden_layers": 60, "num_attention_heads": 52, "num_key_value_heads":
52, "vocab_size": 32000, "max_position_embeddings": 2048})",
        32.529},
    CatalogueEntry{
        "llama-65b",
        "LLaMA 65B",
        R"({"model_type": "llama", "hidden_size": 8192, "intermediate_size": 22016,
"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads":
64, "vocab_size": 32000, "max_position_embeddings": 2048})",
        65.286},
    CatalogueEntry{
        "llama-7b",
        "LLaMA 7B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 32000, "max_position_embeddings": 2048})",
        6.738},
    CatalogueEntry{
        "mistral-7b",
        "Mistral 7B",
        R"({"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 32000, "max_position_embeddings": 32768,
"sliding_window": 4096})",
        7.242},
    CatalogueEntry{
        "mistral-7b-v0.2",
        "Mistral 7B v0.2 (no window)",
        R"({"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 32000, "max_position_embeddings": 32768, "sliding_window":
null, "rope_theta": 1000000.0})",
        7.242},
    CatalogueEntry{
        "mistral-7b-v0.3",
        "Mistral 7B v0.3 (no window)",
        R"({"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 32768, "max_position_embeddings": 32768, "sliding_window":
null, "rope_theta": 1000000.0})",
        7.248},
    CatalogueEntry{
        "mistral-large-123b",
        "Mistral Large 2 123B",
        R"({"model_type": "mistral", "hidden_size": 12288, "intermediate_size":
28672, "num_hidden_layers": 88, "num_attention_heads": 96,
"num_key_value_heads": 8, "vocab_size": 32768, "max_position_embeddings":
131072, "head_dim": 128, "sliding_window": null, "rope_theta": 1000000.0})",
        122.61},
    CatalogueEntry{
        "mistral-nemo-12b",
        "Mistral Nemo 12B",
        R"({"model_type": "mistral", "hidden_size": 5120, "intermediate_size": 14336,
"num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 131072, "max_position_embeddings": 131072, "head_dim":
128, "sliding_window": null, "rope_theta": 1000000.0})",
        12.248},
    CatalogueEntry{
        "mistral-small-24b",
        "Mistral Small 3 24B",
        R"({"model_type": "mistral", "hidden_size": 5120, "intermediate_size": 32768,
"num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 131072, "max_position_embeddings": 32768, "head_dim":
128, "sliding_window": null, "rope_theta": 100000000.0})",
        23.572},
    CatalogueEntry{
        "smollm2-1.7b",
        "SmolLM2 1.7B",
        R"({"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
"num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 49152, "max_position_embeddings": 8192, "rope_theta":
130000.0, "tie_word_embeddings": true})",
        1.711},
    CatalogueEntry{
        "smollm2-135m",
        "SmolLM2 135M",
        R"({"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads":
3, "vocab_size": 49152, "max_position_embeddings": 8192, "rope_theta":
100000.0, "tie_word_embeddings": true})",
        0.1345},
    CatalogueEntry{
        "smollm2-360m",
        "SmolLM2 360M",
        R"({"model_type": "llama", "hidden_size": 960, "intermediate_size": 2560,
"num_hidden_layers": 32, "num_attention_heads": 15, "num_key_value_heads":
5, "vocab_size": 49152, "max_position_embeddings": 8192, "rope_theta":
100000.0, "tie_word_embeddings": true})",
        0.3618},
    CatalogueEntry{
        "tinyllama-1.1b",
        "TinyLlama 1.1B",
        R"({"model_type": "llama", "hidden_size": 2048, "intermediate_size": 5632,
"num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads":
4, "vocab_size": 32000, "max_position_embeddings": 2048})",
        1.1},
    CatalogueEntry{
        "vicuna-13b",
        "Vicuna 13B v1.5",
        R"({"model_type": "llama", "hidden_size": 5120, "intermediate_size": 13824,
"num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads":
40, "vocab_size": 32000, "max_position_embeddings": 4096})",
        13.016},
    CatalogueEntry{
        "vicuna-7b",
        "Vicuna 7B v1.5",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 32000, "max_position_embeddings": 4096})",
        6.738},
    CatalogueEntry{
        "yi-1.5-9b",
        "Yi 1.5 9B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads":
4, "vocab_size": 64000, "max_position_embeddings": 4096, "rope_theta":
5000000.0})",
        8.829},
    CatalogueEntry{
        "yi-34b",
        "Yi 34B",
        R"({"model_type": "llama", "hidden_size": 7168, "intermediate_size": 20480,
"num_hidden_layers": 60, "num_attention_heads": 56, "num_key_value_heads":
8, "vocab_size": 64000, "max_position_embeddings": 4096, "rope_theta":
5000000.0})",
        34.389},
    CatalogueEntry{
        "yi-6b",
        "Yi 6B",
        R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
4, "vocab_size": 64000, "max_position_embeddings": 4096, "rope_theta":
5000000.0})",
        6.061},
};

}  // namespace

std::span<const CatalogueEntry> llama_rows() {
  return kLlamaRows;
}

}  // namespace roofline
