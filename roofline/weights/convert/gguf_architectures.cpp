#include "roofline/weights/convert/gguf_architectures.h"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

namespace roofline {

namespace {

constexpr int kNever = 1 << 30;

// Sorted by name; facts are those of llama.cpp's src/models.
constexpr std::array kArchitectures = {
    GgufArchitecture{.name = "arcee", .rope_factors = true},
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
    GgufArchitecture{.name = "gemma", .head = false},
    GgufArchitecture{.name = "gemma2", .head = false, .window_list = true},
    GgufArchitecture{.name = "gemma3", .window_list = true},
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
        .name = "granitemoe",
        .output_bias = true,
        .rope_factors = true,
        .longrope = true,
        .experts = true,
    },
    GgufArchitecture{.name = "hunyuan-dense", .qkv_bias = false},
    GgufArchitecture{
        .name = "llama",
        .output_bias = true,
        .dense_bias = true,
        .rope_factors = true,
        .longrope = true,
        .experts = true,
        .window_ignored = true},
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
    GgufArchitecture{.name = "qwen2", .whole_heads = true},
    GgufArchitecture{
        .name = "qwen2moe",
        .tied = false,
        .experts = true,
        .whole_heads = true},
    GgufArchitecture{.name = "qwen3"},
    GgufArchitecture{.name = "qwen3moe", .experts = true},
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

bool has_windows(const ModelSpec& spec) {
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) {
        return layer.attention->window_tokens.has_value();
      });
}

std::string refused_in_attention(
    const GgufArchitecture& architecture,
    const AttentionSpec& attention,
    const ModelSpec& spec) {
  const auto layers = static_cast<int>(spec.layers.size());
  if (architecture.whole_heads &&
      attention.heads * attention.head_dim != spec.dim) {
    return fmt::format("heads of {} dims", attention.head_dim);
  }
  if (attention.clip && !architecture.clip) {
    return "a bound of queries, keys and values";
  }
  const bool normed = attention.qk_norm != QkNorm::none;
  if (architecture.qk_norm_layers != 0 &&
      normed != (layers >= architecture.qk_norm_layers)) {
    return normed ? "norms of queries and keys"
                  : "queries and keys without norms";
  }
  const auto& direct_queries = architecture.direct_queries;
  const bool direct = std::any_of(
      direct_queries.begin(),
      direct_queries.end(),
      [&](const DirectQueries& each) {
        return each.layers == layers &&
               (each.vocab == 0 || each.vocab == spec.vocab);
      });
  if (attention.latent && direct == attention.latent->q_rank.has_value()) {
    return fmt::format(
        "queries {} in a model of {} layers",
        direct ? "of low rank" : "straight from x",
        layers);
  }
  if (attention.window_tokens && architecture.window_layers != 0 &&
      architecture.window_layers != layers) {
    return fmt::format("windows in a model of {} layers", layers);
  }
  if (architecture.window_layers == layers && !has_windows(spec)) {
    return fmt::format("full attention in all of {} layers", layers);
  }
  if (architecture.all_kv_heads && attention.kv_heads != attention.heads) {
    return fmt::format(
        "{} key-value heads for {} heads",
        attention.kv_heads,
        attention.heads);
  }
  return "";
}

/// The bases of the layers with a window and of those without one.
bool bases_differ(const ModelSpec& spec) {
  std::optional<double> base;
  for (const LayerSpec& layer : spec.layers) {
    if (!layer.attention->rope) {
      continue;
    }
    if (base && *base != layer.attention->rope->theta) {
      return true;
    }
    base = layer.attention->rope->theta;
  }
  return false;
}

std::string refused_in_layer(
    const GgufArchitecture& architecture,
    const LayerSpec& layer,
    const ModelSpec& spec) {
  const AttentionSpec& attention = *layer.attention;
  const FeedForwardSpec& feed_forward = *layer.feed_forward;
  std::string what = refused_in_attention(architecture, attention, spec);
  if (!what.empty()) {
    return what;
  }
  if (attention.qkv_bias && !architecture.qkv_bias) {
    return "biases of queries, keys and values";
  }
  if (attention.output_bias && !architecture.output_bias) {
    return "a bias of what attention gives";
  }
  if (feed_forward.bias && !architecture.dense_bias) {
    return "biases of feed-forward parts";
  }
  if (!feed_forward.mixture) {
    return "";
  }
  const MixtureSpec& mixture = *feed_forward.mixture;
  if (!architecture.experts) {
    return "a mixture of experts";
  }
  if ((mixture.expert_bias || mixture.router_bias) &&
      !architecture.expert_bias) {
    return "biases of experts";
  }
  if (mixture.groups > 1 && mixture.group_score == GroupScore::best) {
    return "groups of experts that are judged by their best one";
  }
  if (mixture.scale != 1.0f && !architecture.expert_weights) {
    return "a factor on experts";
  }
  if (architecture.needs_shared_experts && mixture.shared_hidden == 0) {
    return "no shared experts";
  }
  return "";
}

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

std::string refused_by_llama_cpp(
    const GgufArchitecture& architecture,
    const ModelSpec& spec) {
  std::string what;
  if (!spec.tied_embeddings && !architecture.head) {
    what = "a head that isn't the embedding";
  } else if (spec.head_bias && !architecture.head_bias) {
    what = "a bias of the head";
  } else if (!architecture.window_base && bases_differ(spec)) {
    what = "another base of positions in windows";
  }
  for (const LayerSpec& layer : spec.layers) {
    what = what.empty() ? refused_in_layer(architecture, layer, spec) : what;
  }
  return what;
}

std::string unlike_in_llama_cpp(
    const GgufArchitecture& architecture,
    const ModelSpec& spec) {
  if (!architecture.window_ignored) {
    return "";
  }
  std::int64_t window = spec.context_tokens;
  for (const LayerSpec& layer : spec.layers) {
    window = std::min<std::int64_t>(
        window,
        layer.attention->window_tokens.value_or(window));
  }
  if (window >= spec.context_tokens) {
    return "";
  }
  return fmt::format(
      "llama.cpp passes over the attention window in files of {}: what it "
      "computes is this model up to {} tokens, not to {}",
      architecture.name,
      window,
      spec.context_tokens);
}

}  // namespace roofline
