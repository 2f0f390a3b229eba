#include "roofline/weights/convert/gguf_architectures.h"

#include <algorithm>
#include <array>

namespace roofline {

namespace {

constexpr int kNever = 1 << 30;

// Sorted by name; facts are those of llama.cpp's src/models.
constexpr std::array kArchitectures = {
    GgufArchitecture{
        .name = "apertus",
        .tied = false,
        .output_bias = true,
        .rope_factors = true,
        .longrope = true,
    },
    GgufArchitecture{.name = "arcee", .rope_factors = true},
    GgufArchitecture{
        .name = "bitnet",
        .head = false,
        .qkv_bias = false,
        .whole_heads = true,
    },
    GgufArchitecture{
        .name = "chatglm",
        .packed_gate_up = true,
        .whole_heads = true},
    GgufArchitecture{
        .name = "cohere2",
        .head = false,
        .whole_heads = true,
        .window_list = true},
    GgufArchitecture{
        .name = "command-r",
        .head = false,
        .whole_heads = true,
        .qk_norm_layers = 64},
    GgufArchitecture{
        .name = "deepseek2",
        .qkv_bias = false,
        .experts = true,
        .expert_weights = true,
        .dense_first = true,
        .direct_queries = {{{26}, {27}, {48, 128256}}},
        .needs_shared_experts = true,
    },
    GgufArchitecture{
        .name = "dots1",
        .tied = false,
        .experts = true,
        .expert_weights = true,
        .dense_first = true,
        .needs_shared_experts = true,
        .all_kv_heads = true},
    GgufArchitecture{.name = "ernie4_5", .output_bias = true},
    GgufArchitecture{
        .name = "ernie4_5-moe",
        .output_bias = true,
        .experts = true,
        .dense_first = true,
    },
    GgufArchitecture{
        .name = "exaone4",
        .rope_factors = true,
        .whole_heads = true,
        .window_layers = 64,
        .window_list = true},
    GgufArchitecture{
        .name = "falcon-h1",
        .dense_bias = true,
        .needs_conv_bias = true,
        .bare_ffn_norm = true,
        .folds_factors = true,
    },
    GgufArchitecture{.name = "gemma", .head = false},
    GgufArchitecture{.name = "gemma2", .head = false, .window_list = true},
    GgufArchitecture{.name = "gemma3", .window_list = true},
    GgufArchitecture{
        .name = "gemma3n",
        .window_list = true,
        .needs_window_list = true,
        .shared_kv_last_two = true,
        .streams =
            FixedStreams{
                .twin_rank = 64,
                .per_layer_embedding = 256,
                .count = 4,
                .layers_with_keys = 20,
                .sparse_layers = 10,
                .sparsity = 0.95f},
    },
    GgufArchitecture{
        .name = "gemma4",
        .rope_factors = true,
        .experts = true,
        .window_list = true,
        .needs_window_list = true,
        .needs_rope_factors = true,
        .shared_kv_last_two = true,
        .always_renormalises = true,
    },
    GgufArchitecture{.name = "glm4", .packed_gate_up = true},
    GgufArchitecture{
        .name = "glm4moe",
        .late_norm = true,
        .experts = true,
        .expert_weights = true,
        .dense_first = true,
    },
    GgufArchitecture{
        .name = "gpt-oss",
        .output_bias = true,
        .expert_bias = true,
        .late_norm = true,
        .experts = true,
        .window_list = true},
    GgufArchitecture{
        .name = "gpt2",
        .output_bias = true,
        .dense_bias = true,
        .packed_qkv = true,
        .whole_heads = true,
        .needs_biases = true},
    GgufArchitecture{
        .name = "gptneox",
        .tied = false,
        .output_bias = true,
        .dense_bias = true,
        .packed_qkv = true,
        .whole_heads = true,
        .needs_biases = true},
    GgufArchitecture{
        .name = "granite",
        .output_bias = true,
        .dense_bias = true,
        .rope_factors = true,
        .longrope = true,
    },
    GgufArchitecture{
        .name = "granitehybrid",
        .output_bias = true,
        .dense_bias = true,
        .experts = true,
        .needs_conv_bias = true,
        .needs_recurrent_norm = true,
        .doubled_inner = true,
        .always_renormalises = true,
    },
    GgufArchitecture{
        .name = "granitemoe",
        .output_bias = true,
        .rope_factors = true,
        .longrope = true,
        .experts = true,
    },
    GgufArchitecture{.name = "hunyuan-dense", .qkv_bias = false},
    GgufArchitecture{.name = "lfm2", .whole_heads = true, .conv_bias = false},
    GgufArchitecture{
        .name = "lfm2moe",
        .experts = true,
        .dense_first = true,
        .whole_heads = true,
        .conv_bias = false,
        .needs_selection_bias = true,
        .always_renormalises = true,
    },
    GgufArchitecture{
        .name = "llama",
        .output_bias = true,
        .dense_bias = true,
        .rope_factors = true,
        .longrope = true,
        .experts = true,
        .window_ignored = true},
    GgufArchitecture{
        .name = "mamba2",
        .needs_conv_bias = true,
        .needs_recurrent_norm = true,
    },
    GgufArchitecture{.name = "minimax-m2", .tied = false, .experts = true},
    GgufArchitecture{
        .name = "mistral3",
        .output_bias = true,
        .dense_bias = true,
        .rope_factors = true,
        .longrope = true,
    },
    GgufArchitecture{
        .name = "nemotron",
        .tied = false,
        .output_bias = true,
        .dense_bias = true,
        .whole_heads = true},
    GgufArchitecture{
        .name = "nemotron_h",
        .output_bias = true,
        .dense_bias = true,
        .both_epsilons = true,
        .needs_conv_bias = true,
        .needs_recurrent_norm = true,
    },
    GgufArchitecture{
        .name = "nemotron_h_moe",
        .output_bias = true,
        .experts = true,
        .expert_weights = true,
        .needs_shared_experts = true,
        .both_epsilons = true,
        .needs_conv_bias = true,
        .needs_recurrent_norm = true,
        .needs_experts = true,
        .needs_selection_bias = true,
    },
    GgufArchitecture{.name = "olmo", .whole_heads = true, .clip = true},
    GgufArchitecture{
        .name = "olmo2",
        .tied = false,
        .whole_heads = true,
        .window_list = true,
        .window_base = false},
    GgufArchitecture{
        .name = "olmoe",
        .tied = false,
        .experts = true,
        .whole_heads = true},
    GgufArchitecture{
        .name = "phi2",
        .tied = false,
        .output_bias = true,
        .dense_bias = true,
        .head_bias = true,
        .whole_heads = true,
        .qk_norm_layers = kNever},
    GgufArchitecture{
        .name = "phi3",
        .longrope = true,
        .packed_qkv = true,
        .packed_gate_up = true,
        .whole_heads = true,
        .window_ignored = true},
    GgufArchitecture{
        .name = "phimoe",
        .tied = false,
        .output_bias = true,
        .head_bias = true,
        .longrope = true,
        .experts = true,
        .whole_heads = true,
        .window_ignored = true,
        .needs_output_biases = true,
        .rms_epsilon = true,
        .unlike =
            "llama.cpp computes phimoe's layer norms without the mean and its "
            "sparsemixer as a softmax, and answers otherwise than this model"},
    GgufArchitecture{.name = "qwen2", .whole_heads = true},
    GgufArchitecture{
        .name = "qwen2moe",
        .tied = false,
        .experts = true,
        .whole_heads = true},
    GgufArchitecture{.name = "qwen3"},
    GgufArchitecture{
        .name = "qwen35",
        .late_norm = true,
        .rope_sections = true,
        .conv_bias = false,
        .equal_key_dims = true,
        .heads_in_turns = true,
        .recurrent_list = true,
    },
    GgufArchitecture{
        .name = "qwen35moe",
        .late_norm = true,
        .experts = true,
        .needs_shared_experts = true,
        .rope_sections = true,
        .conv_bias = false,
        .equal_key_dims = true,
        .heads_in_turns = true,
        .recurrent_list = true,
        .needs_experts = true,
        .always_renormalises = true,
    },
    GgufArchitecture{.name = "qwen3moe", .experts = true},
    GgufArchitecture{
        .name = "qwen3next",
        .late_norm = true,
        .experts = true,
        .needs_shared_experts = true,
        .conv_bias = false,
        .equal_key_dims = true,
        .recurrent_list = true,
        .needs_experts = true,
        .always_renormalises = true,
    },
    GgufArchitecture{.name = "seed_oss", .late_norm = true},
    GgufArchitecture{.name = "smollm3"},
    GgufArchitecture{.name = "stablelm", .tied = false, .whole_heads = true},
    GgufArchitecture{
        .name = "starcoder2",
        .output_bias = true,
        .dense_bias = true,
        .whole_heads = true,
        .window_ignored = true,
        .needs_biases = true},
};

}  // namespace

const GgufArchitecture* find_gguf_architecture(std::string_view name) {
  const auto found = std::find_if(
      kArchitectures.begin(),
      kArchitectures.end(),
      [&](const GgufArchitecture& each) { return each.name == name; });
  return found == kArchitectures.end() ? nullptr : &*found;
}

std::vector<std::string> written_gguf_architectures() {
  std::vector<std::string> out;
  for (const GgufArchitecture& each : kArchitectures) {
    out.emplace_back(each.name);
  }
  return out;
}

}  // namespace roofline
