// Models with experts, latents, recurrent layers and the like.
#include "roofline/spec/catalogue_rows.h"

#include <array>

namespace roofline {

namespace {

constexpr std::array kMixedRows = {
    CatalogueEntry{
        "command-r-35b",
        "Command R 35B",
        R"({"model_type": "cohere", "hidden_size": 8192, "intermediate_size": 22528,
"num_hidden_layers": 40, "num_attention_heads": 64, "num_key_value_heads":
64, "vocab_size": 256000, "max_position_embeddings": 131072})",
        34.981},
    CatalogueEntry{
        "command-r-plus-104b",
        "Command R+ 104B",
        R"({"model_type": "cohere", "hidden_size": 12288, "intermediate_size": 33792,
"num_hidden_layers": 64, "num_attention_heads": 96, "num_key_value_heads":
8, "vocab_size": 256000, "max_position_embeddings": 131072, "use_qk_norm":
true})",
        103.811},
    CatalogueEntry{
        "command-r7b",
        "Command R7B",
        R"({"model_type": "cohere2", "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 256000, "max_position_embeddings": 132096,
"sliding_window": 4096, "sliding_window_pattern": 4})",
        8.028},
    CatalogueEntry{
        "deepseek-coder-v2-lite",
        "DeepSeek Coder V2 Lite",
        R"({"model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size":
10944, "num_hidden_layers": 27, "num_attention_heads": 16,
"num_key_value_heads": 16, "vocab_size": 102400,
"max_position_embeddings": 163840, "q_lora_rank": null,
"kv_lora_rank": 512,
"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
"n_routed_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size":
1408, "n_shared_experts": 2, "first_k_dense_replace": 1})",
        15.706},
    CatalogueEntry{
        "deepseek-r1",
        "DeepSeek R1",
        R"({"model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size":
18432, "num_hidden_layers": 61, "num_attention_heads": 128,
"num_key_value_heads": 128, "vocab_size": 129280,
"max_position_embeddings": 163840, "kv_lora_rank": 512,
"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
"q_lora_rank": 1536, "n_routed_experts": 256, "num_experts_per_tok": 8,
"moe_intermediate_size": 2048, "n_shared_experts": 1,
"first_k_dense_replace": 3, "n_group": 8, "topk_group": 4,
"routed_scaling_factor": 2.5})",
        671.026},
    CatalogueEntry{
        "deepseek-v2",
        "DeepSeek V2",
        R"({"model_type": "deepseek_v2", "hidden_size": 5120, "intermediate_size":
12288, "num_hidden_layers": 60, "num_attention_heads": 128,
"num_key_value_heads": 128, "vocab_size": 102400,
"max_position_embeddings": 163840, "kv_lora_rank": 512,
"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
"q_lora_rank": 1536, "n_routed_experts": 160, "num_experts_per_tok": 6,
"moe_intermediate_size": 1536, "n_shared_experts": 2,
"first_k_dense_replace": 1, "n_group": 8, "topk_group": 3})",
        235.741},
    CatalogueEntry{
        "deepseek-v2-lite",
        "DeepSeek V2 Lite",
        R"({"model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size":
10944, "num_hidden_layers": 27, "num_attention_heads": 16,
"num_key_value_heads": 16, "vocab_size": 102400,
"max_position_embeddings": 163840, "q_lora_rank": null,
"kv_lora_rank": 512,
"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
"n_routed_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size":
1408, "n_shared_experts": 2, "first_k_dense_replace": 1})",
        15.706},
    CatalogueEntry{
        "deepseek-v3",
        "DeepSeek V3",
        R"({"model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size":
18432, "num_hidden_layers": 61, "num_attention_heads": 128,
"num_key_value_heads": 128, "vocab_size": 129280,
"max_position_embeddings": 163840, "kv_lora_rank": 512,
"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
"q_lora_rank": 1536, "n_routed_experts": 256, "num_experts_per_tok": 8,
"moe_intermediate_size": 2048, "n_shared_experts": 1,
"first_k_dense_replace": 3, "n_group": 8, "topk_group": 4,
"routed_scaling_factor": 2.5})",
        671.026},
    CatalogueEntry{
        "deepseek-v3.1",
        "DeepSeek V3.1",
        R"({"model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size":
18432, "num_hidden_layers": 61, "num_attention_heads": 128,
"num_key_value_heads": 128, "vocab_size": 129280,
"max_position_embeddings": 163840, "kv_lora_rank": 512, "qk_nope_head_dim":
128, "qk_rope_head_dim": 64, "v_head_dim": 128, "q_lora_rank": 1536,
"n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size":
2048, "n_shared_experts": 1, "first_k_dense_replace": 3, "n_group": 8,
"topk_group": 4, "routed_scaling_factor": 2.5})",
        671.026},
    CatalogueEntry{
        "exaone-4.0-1.2b",
        "EXAONE 4.0 1.2B",
        R"({"model_type": "exaone4", "hidden_size": 2048, "intermediate_size": 4096,
"num_hidden_layers": 30, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 102400, "max_position_embeddings": 65536,
"tie_word_embeddings": true, "layer_types": ["full_attention",
"full_attention", "full_attention", "full_attention", "full_attention",
"full_attention", "full_attention", "full_attention", "full_attention",
"full_attention", "full_attention", "full_attention", "full_attention",
"full_attention", "full_attention", "full_attention", "full_attention",
"full_attention", "full_attention", "full_attention", "full_attention",
"full_attention", "full_attention", "full_attention", "full_attention",
"full_attention", "full_attention", "full_attention", "full_attention",
"full_attention"]})",
        1.279},
    CatalogueEntry{
        "exaone-4.0-32b",
        "EXAONE 4.0 32B",
        R"({"model_type": "exaone4", "hidden_size": 5120, "intermediate_size": 27392,
"num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 102400, "max_position_embeddings": 131072,
"sliding_window": 4096, "sliding_window_pattern": "LLLG"})",
        32.003},
    CatalogueEntry{
        "falcon-h1-34b",
        "Falcon H1 34B",
        R"({"model_type": "falcon_h1", "hidden_size": 5120, "intermediate_size":
21504, "num_hidden_layers": 72, "num_attention_heads": 20,
"num_key_value_heads": 4, "vocab_size": 261120, "max_position_embeddings":
262144, "head_dim": 128, "mamba_d_ssm": 4096, "mamba_n_heads": 32,
"mamba_d_head": 128, "mamba_d_state": 256, "mamba_n_groups": 2})",
        33.6},
    CatalogueEntry{
        "gemma-3n-e2b",
        "Gemma 3n E2B (its language model)",
        R"({"model_type": "gemma3n_text", "hidden_size": 2048, "intermediate_size":
8192, "num_hidden_layers": 30, "num_attention_heads": 8,
"num_key_value_heads": 2, "head_dim": 256, "vocab_size": 262400,
"vocab_size_per_layer_input": 262144, "hidden_size_per_layer_input": 256,
"max_position_embeddings": 32768, "num_kv_shared_layers": 10,
"sliding_window": 512, "altup_num_inputs": 4, "altup_active_idx": 0,
"laurel_rank": 64})",
        4.46},
    CatalogueEntry{
        "gemma-3n-e4b",
        "Gemma 3n E4B (its language model)",
        R"({"model_type": "gemma3n_text", "hidden_size": 2048, "intermediate_size":
16384, "num_hidden_layers": 35, "num_attention_heads": 8,
"num_key_value_heads": 2, "head_dim": 256, "vocab_size": 262400,
"vocab_size_per_layer_input": 262144, "hidden_size_per_layer_input": 256,
"max_position_embeddings": 32768, "num_kv_shared_layers": 15,
"sliding_window": 512, "altup_num_inputs": 4, "altup_active_idx": 0,
"laurel_rank": 64})",
        6.87},
    CatalogueEntry{
        "glm-4-32b",
        "GLM 4 32B (0414)",
        R"({"model_type": "glm4", "hidden_size": 6144, "intermediate_size": 23040,
"num_hidden_layers": 61, "num_attention_heads": 48, "num_key_value_heads":
2, "vocab_size": 151552, "max_position_embeddings": 32768, "head_dim":
128, "attention_bias": false, "partial_rotary_factor": 0.5})",
        32.566},
    CatalogueEntry{
        "glm-4-9b",
        "GLM 4 9B (0414)",
        R"({"model_type": "glm4", "hidden_size": 4096, "intermediate_size": 13696,
"num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads":
2, "vocab_size": 151552, "max_position_embeddings": 32768, "head_dim":
128, "attention_bias": true, "partial_rotary_factor": 0.5})",
        9.4},
    CatalogueEntry{
        "glm-4.5",
        "GLM 4.5",
        R"({"model_type": "glm4_moe", "hidden_size": 5120, "intermediate_size":
12288, "num_hidden_layers": 92, "num_attention_heads": 96,
"num_key_value_heads": 8, "vocab_size": 151552, "max_position_embeddings":
131072, "head_dim": 128, "attention_bias": true, "use_qk_norm": true,
"n_routed_experts": 160, "num_experts_per_tok": 8,
"moe_intermediate_size": 1536, "n_shared_experts": 1,
"first_k_dense_replace": 3, "partial_rotary_factor": 0.5})",
        355.0},
    CatalogueEntry{
        "glm-4.5-air",
        "GLM 4.5 Air",
        R"({"model_type": "glm4_moe", "hidden_size": 4096, "intermediate_size":
10944, "num_hidden_layers": 46, "num_attention_heads": 96,
"num_key_value_heads": 8, "vocab_size": 151552, "max_position_embeddings":
131072, "head_dim": 128, "attention_bias": true, "n_routed_experts": 128,
"num_experts_per_tok": 8, "moe_intermediate_size": 1408,
"n_shared_experts": 1, "first_k_dense_replace": 1,
"partial_rotary_factor": 0.5})",
        106.85},
    CatalogueEntry{
        "gpt-neox-20b",
        "GPT-NeoX 20B",
        R"({"model_type": "gpt_neox", "hidden_size": 6144, "intermediate_size": 24576,
"num_hidden_layers": 44, "num_attention_heads": 64, "vocab_size": 50432,
"max_position_embeddings": 2048, "rotary_pct": 0.25, "tie_word_embeddings":
false})",
        20.554},
    CatalogueEntry{
        "gpt-oss-120b",
        "gpt-oss 120B",
        R"({"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880,
"num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 201088, "max_position_embeddings": 131072, "head_dim":
64, "num_local_experts": 128, "num_experts_per_tok": 4, "sliding_window":
128})",
        116.829,
        true},
    CatalogueEntry{
        "gpt-oss-20b",
        "gpt-oss 20B",
        R"({"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880,
"num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads":
8, "vocab_size": 201088, "max_position_embeddings": 131072, "head_dim":
64, "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window":
128})",
        20.915,
        true},
    CatalogueEntry{
        "gpt2",
        "GPT-2",
        R"({"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12,
"vocab_size": 50257, "n_positions": 1024})",
        0.1244},
    CatalogueEntry{
        "gpt2-large",
        "GPT-2 large",
        R"({"model_type": "gpt2", "n_embd": 1280, "n_layer": 36, "n_head": 20,
"vocab_size": 50257, "n_positions": 1024})",
        0.774},
    CatalogueEntry{
        "gpt2-medium",
        "GPT-2 medium",
        R"({"model_type": "gpt2", "n_embd": 1024, "n_layer": 24, "n_head": 16,
"vocab_size": 50257, "n_positions": 1024})",
        0.3548},
    CatalogueEntry{
        "gpt2-xl",
        "GPT-2 XL",
        R"({"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25,
"vocab_size": 50257, "n_positions": 1024})",
        1.558},
    CatalogueEntry{
        "granite-3.1-3b-a800m",
        "Granite 3.1 3B A800M",
        R"({"model_type": "granitemoe", "hidden_size": 1536, "intermediate_size":
512, "num_hidden_layers": 32, "num_attention_heads": 24,
"num_key_value_heads": 8, "vocab_size": 49155, "max_position_embeddings":
131072, "tie_word_embeddings": true,
"num_local_experts": 40, "num_experts_per_tok": 8})",
        3.3},
    CatalogueEntry{
        "granite-4.0-h-small",
        "Granite 4.0 H Small 32B",
        R"({"model_type": "granitemoehybrid", "hidden_size": 4096,
"intermediate_size": 768, "num_hidden_layers": 40, "num_attention_heads":
32, "num_key_value_heads": 8, "vocab_size": 100352,
"max_position_embeddings": 131072, "num_local_experts": 72,
"num_experts_per_tok": 10, "shared_intermediate_size": 1536,
"mamba_n_heads": 128, "mamba_d_head": 64, "mamba_d_state": 128,
"mamba_n_groups": 1, "tie_word_embeddings": true, "layer_types": ["mamba", "mamba", "mamba", "mamba",
"mamba", "attention", "mamba", "mamba", "mamba", "mamba", "mamba",
"mamba", "mamba", "mamba", "mamba", "attention", "mamba", "mamba",
"mamba", "mamba", "mamba", "mamba", "mamba", "mamba", "mamba",
"attention", "mamba", "mamba", "mamba", "mamba", "mamba", "mamba",
"mamba", "mamba", "mamba", "attention", "mamba", "mamba", "mamba",
"mamba"]})",
        32.2},
    CatalogueEntry{
        "granite-4.0-h-tiny",
        "Granite 4.0 H Tiny 7B",
        R"({"model_type": "granitemoehybrid", "hidden_size": 1536,
"intermediate_size": 512, "num_hidden_layers": 40, "num_attention_heads":
12, "num_key_value_heads": 4, "vocab_size": 100352,
"max_position_embeddings": 131072, "num_local_experts": 64,
"num_experts_per_tok": 6, "shared_intermediate_size": 1024,
"mamba_n_heads": 48, "mamba_d_head": 64, "mamba_d_state": 128,
"mamba_n_groups": 1, "tie_word_embeddings": true, "layer_types": ["mamba", "mamba", "mamba", "mamba",
"mamba", "attention", "mamba", "mamba", "mamba", "mamba", "mamba",
"mamba", "mamba", "mamba", "mamba", "attention", "mamba", "mamba",
"mamba", "mamba", "mamba", "mamba", "mamba", "mamba", "mamba",
"attention", "mamba", "mamba", "mamba", "mamba", "mamba", "mamba",
"mamba", "mamba", "mamba", "attention", "mamba", "mamba", "mamba",
"mamba"]})",
        6.939},
    CatalogueEntry{
        "kimi-k2",
        "Kimi K2",
        R"({"model_type": "kimi_k2", "hidden_size": 7168, "intermediate_size": 18432,
"num_hidden_layers": 61, "num_attention_heads": 64, "num_key_value_heads":
64, "vocab_size": 163840, "max_position_embeddings": 131072,
"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
"v_head_dim": 128, "q_lora_rank": 1536, "n_routed_experts": 384,
"num_experts_per_tok": 8, "moe_intermediate_size": 2048,
"n_shared_experts": 1, "first_k_dense_replace": 1,
"n_group": 1, "topk_group": 1,
"routed_scaling_factor": 2.827})",
        1026.4},
    CatalogueEntry{
        "lfm2-1.2b",
        "LFM2 1.2B",
        R"({"model_type": "lfm2", "hidden_size": 2048, "block_ff_dim": 12288,
"block_auto_adjust_ff_dim": true, "block_multiple_of": 256,
"num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 65536, "max_position_embeddings": 128000, "conv_L_cache":
3, "full_attn_idxs": [2, 5, 8, 10, 12, 14]})",
        1.17},
    CatalogueEntry{
        "lfm2-350m",
        "LFM2 350M",
        R"({"model_type": "lfm2", "hidden_size": 1024, "block_ff_dim": 6656,
"block_auto_adjust_ff_dim": true, "block_multiple_of": 256,
"num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads":
8, "vocab_size": 65536, "max_position_embeddings": 128000, "conv_L_cache":
3, "full_attn_idxs": [2, 5, 8, 10, 12, 14]})",
        0.354},
    CatalogueEntry{
        "lfm2-700m",
        "LFM2 700M",
        R"({"model_type": "lfm2", "hidden_size": 1536, "block_ff_dim": 10240,
"block_auto_adjust_ff_dim": true, "block_multiple_of": 256,
"num_hidden_layers": 16, "num_attention_heads": 24, "num_key_value_heads":
8, "vocab_size": 65536, "max_position_embeddings": 128000, "conv_L_cache":
3, "full_attn_idxs": [2, 5, 8, 10, 12, 14]})",
        0.742},
    CatalogueEntry{
        "llama-4-maverick",
        "Llama 4 Maverick (its language model)",
        R"({"model_type": "llama4_text", "hidden_size": 5120, "intermediate_size":
8192, "num_hidden_layers": 48, "num_attention_heads": 40,
"num_key_value_heads": 8, "vocab_size": 202048, "max_position_embeddings":
1048576, "head_dim": 128, "intermediate_size_mlp": 16384,
"num_local_experts": 128, "num_experts_per_tok": 1,
"interleave_moe_layer_step": 2, "attention_chunk_size": 8192})",
        400.7},
    CatalogueEntry{
        "llama-4-scout",
        "Llama 4 Scout (its language model)",
        R"({"model_type": "llama4_text", "hidden_size": 5120, "intermediate_size":
8192, "num_hidden_layers": 48, "num_attention_heads": 40,
"num_key_value_heads": 8, "vocab_size": 202048, "max_position_embeddings":
10485760, "head_dim": 128, "intermediate_size_mlp": 16384,
"num_local_experts": 16, "num_experts_per_tok": 1,
"interleave_moe_layer_step": 1, "attention_chunk_size": 8192})",
        107.77},
    CatalogueEntry{
        "mamba2-2.7b",
        "Mamba 2 2.7B",
        R"({"model_type": "mamba2", "hidden_size": 2560, "num_hidden_layers": 64,
"vocab_size": 50288, "head_dim": 64, "num_heads": 80, "state_size": 128,
"n_groups": 1, "expand": 2, "conv_kernel": 4, "tie_word_embeddings": true})",
        2.703},
    CatalogueEntry{
        "mixtral-8x22b",
        "Mixtral 8x22B",
        R"({"model_type": "mixtral", "hidden_size": 6144, "intermediate_size": 16384,
"num_hidden_layers": 56, "num_attention_heads": 48, "num_key_value_heads":
8, "vocab_size": 32000, "max_position_embeddings": 65536,
"num_local_experts": 8, "num_experts_per_tok": 2})",
        140.621},
    CatalogueEntry{
        "mixtral-8x7b",
        "Mixtral 8x7B",
        R"({"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 32000, "max_position_embeddings": 32768,
"num_local_experts": 8, "num_experts_per_tok": 2})",
        46.703},
    CatalogueEntry{
        "olmo-3-32b",
        "OLMo 3 32B",
        R"({"model_type": "olmo3", "hidden_size": 5120, "intermediate_size": 27648,
"num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads":
8, "vocab_size": 100278, "max_position_embeddings": 65536,
"sliding_window": 4096})",
        32.234},
    CatalogueEntry{
        "olmo-3-7b",
        "OLMo 3 7B",
        R"({"model_type": "olmo3", "hidden_size": 4096, "intermediate_size": 11008,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 100278, "max_position_embeddings": 65536,
"sliding_window": 4096})",
        7.298},
    CatalogueEntry{
        "olmoe-1b-7b",
        "OLMoE 1B 7B",
        R"({"model_type": "olmoe", "hidden_size": 2048, "intermediate_size": 1024,
"num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads":
16, "vocab_size": 50304, "max_position_embeddings": 4096, "num_experts":
64, "num_experts_per_tok": 8})",
        6.919},
    CatalogueEntry{
        "phi-2",
        "Phi 2",
        R"({"model_type": "phi", "hidden_size": 2560, "intermediate_size": 10240,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 51200, "max_position_embeddings": 2048,
"partial_rotary_factor": 0.4})",
        2.78},
    CatalogueEntry{
        "phi-3.5-moe",
        "Phi 3.5 MoE",
        R"({"model_type": "phimoe", "hidden_size": 4096, "intermediate_size": 6400,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads":
8, "vocab_size": 32064, "max_position_embeddings": 131072,
"num_local_experts": 16, "num_experts_per_tok": 2})",
        41.873},
    CatalogueEntry{
        "pythia-1.4b",
        "Pythia 1.4B",
        R"({"model_type": "gpt_neox", "hidden_size": 2048, "intermediate_size": 8192,
"num_hidden_layers": 24, "num_attention_heads": 16, "vocab_size": 50304,
"max_position_embeddings": 2048, "rotary_pct": 0.25, "tie_word_embeddings":
false})",
        1.415},
    CatalogueEntry{
        "pythia-6.9b",
        "Pythia 6.9B",
        R"({"model_type": "gpt_neox", "hidden_size": 4096, "intermediate_size": 16384,
"num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 50432,
"max_position_embeddings": 2048, "rotary_pct": 0.25, "tie_word_embeddings":
false})",
        6.857},
    CatalogueEntry{
        "qwen1.5-moe-a2.7b",
        "Qwen1.5 MoE A2.7B",
        R"({"model_type": "qwen2_moe", "hidden_size": 2048, "intermediate_size":
5632, "num_hidden_layers": 24, "num_attention_heads": 16,
"num_key_value_heads": 16, "vocab_size": 151936,
"max_position_embeddings": 8192, "num_experts": 60, "num_experts_per_tok":
4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
"norm_topk_prob": false})",
        14.316},
    CatalogueEntry{
        "qwen2-57b-a14b",
        "Qwen2 57B A14B",
        R"({"model_type": "qwen2_moe", "hidden_size": 3584, "intermediate_size":
18944, "num_hidden_layers": 28, "num_attention_heads": 28,
"num_key_value_heads": 4, "vocab_size": 151936, "max_position_embeddings":
32768, "num_experts": 64, "num_experts_per_tok": 8,
"moe_intermediate_size": 2560, "shared_expert_intermediate_size": 20480,
"norm_topk_prob": false})",
        57.409},
    CatalogueEntry{
        "qwen3-235b-a22b",
        "Qwen3 235B A22B",
        R"({"model_type": "qwen3_moe", "hidden_size": 4096, "intermediate_size":
12288, "num_hidden_layers": 94, "num_attention_heads": 64,
"num_key_value_heads": 4, "vocab_size": 151936, "max_position_embeddings":
40960, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
"moe_intermediate_size": 1536})",
        235.094},
    CatalogueEntry{
        "qwen3-235b-a22b-2507",
        "Qwen3 235B A22B of July 2025",
        R"({"model_type": "qwen3_moe", "hidden_size": 4096, "intermediate_size":
12288, "num_hidden_layers": 94, "num_attention_heads": 64,
"num_key_value_heads": 4, "vocab_size": 151936, "max_position_embeddings":
262144, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
"moe_intermediate_size": 1536})",
        235.094},
    CatalogueEntry{
        "qwen3-30b-a3b",
        "Qwen3 30B A3B",
        R"({"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size":
6144, "num_hidden_layers": 48, "num_attention_heads": 32,
"num_key_value_heads": 4, "vocab_size": 151936, "max_position_embeddings":
40960, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
"moe_intermediate_size": 768})",
        30.532},
    CatalogueEntry{
        "qwen3-30b-a3b-2507",
        "Qwen3 30B A3B of July 2025",
        R"({"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
"num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads":
4, "vocab_size": 151936, "max_position_embeddings": 262144, "head_dim":
128, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size":
768})",
        30.532},
    CatalogueEntry{
        "qwen3-coder-30b-a3b",
        "Qwen3 Coder 30B A3B",
        R"({"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size":
6144, "num_hidden_layers": 48, "num_attention_heads": 32,
"num_key_value_heads": 4, "vocab_size": 151936, "max_position_embeddings":
262144, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
"moe_intermediate_size": 768})",
        30.532},
    CatalogueEntry{
        "qwen3-coder-480b-a35b",
        "Qwen3 Coder 480B A35B",
        R"({"model_type": "qwen3_moe", "hidden_size": 6144, "intermediate_size":
8192, "num_hidden_layers": 62, "num_attention_heads": 96,
"num_key_value_heads": 8, "vocab_size": 151936, "max_position_embeddings":
262144, "head_dim": 128, "num_experts": 160, "num_experts_per_tok": 8,
"moe_intermediate_size": 2560})",
        480.155},
    CatalogueEntry{
        "qwen3-next-80b-a3b",
        "Qwen3 Next 80B A3B",
        R"({"model_type": "qwen3_next", "hidden_size": 2048, "intermediate_size":
5120, "num_hidden_layers": 48, "num_attention_heads": 16,
"num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings":
262144, "head_dim": 256, "num_experts": 512, "num_experts_per_tok": 10,
"moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
"linear_num_value_heads": 32, "linear_num_key_heads": 16,
"linear_key_head_dim": 128, "linear_value_head_dim": 128,
"linear_conv_kernel_dim": 4, "full_attention_interval": 4,
"partial_rotary_factor": 0.25})",
        79.67},
    CatalogueEntry{
        "stablelm-2-1.6b",
        "StableLM 2 1.6B",
        R"({"model_type": "stablelm", "hidden_size": 2048, "intermediate_size": 5632,
"num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads":
32, "vocab_size": 100352, "max_position_embeddings": 4096, "use_qkv_bias":
true, "partial_rotary_factor": 0.25})",
        1.645},
    CatalogueEntry{
        "starcoder2-15b",
        "StarCoder2 15B",
        R"({"model_type": "starcoder2", "hidden_size": 6144, "intermediate_size":
24576, "num_hidden_layers": 40, "num_attention_heads": 48,
"num_key_value_heads": 4, "vocab_size": 49152, "max_position_embeddings":
16384, "sliding_window": 4096, "tie_word_embeddings": false})",
        15.958},
    CatalogueEntry{
        "starcoder2-3b",
        "StarCoder2 3B",
        R"({"model_type": "starcoder2", "hidden_size": 3072, "intermediate_size":
12288, "num_hidden_layers": 30, "num_attention_heads": 24,
"num_key_value_heads": 2, "vocab_size": 49152, "max_position_embeddings":
16384, "sliding_window": 4096, "tie_word_embeddings": true})",
        3.03},
    CatalogueEntry{
        "starcoder2-7b",
        "StarCoder2 7B",
        R"({"model_type": "starcoder2", "hidden_size": 4608, "intermediate_size":
18432, "num_hidden_layers": 32, "num_attention_heads": 36,
"num_key_value_heads": 4, "vocab_size": 49152, "max_position_embeddings":
16384, "sliding_window": 4096, "tie_word_embeddings": true})",
        7.174},
};

}  // namespace

std::span<const CatalogueEntry> mixed_rows() {
  return kMixedRows;
}

}  // namespace roofline
