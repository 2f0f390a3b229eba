#include "roofline/spec/read_layers.h"

#include <array>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/read_rope.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr IntRange kDims{1, kMaxDim};
constexpr NumberRange kMultiplier{-1e9, 1e9};
constexpr NumberRange kPositive{1e-9, 1e9};
// Longer than any model's.
constexpr IntRange kWindow{1, 1 << 30};

constexpr std::array<std::pair<std::string_view, Activation>, 11> kActivations =
    {{
        {"silu", Activation::silu},
        {"swish", Activation::silu},
        {"gelu", Activation::gelu},
        {"gelu_python", Activation::gelu},
        {"gelu_pytorch_tanh", Activation::gelu_tanh},
        {"gelu_new", Activation::gelu_tanh},
        {"gelu_fast", Activation::gelu_tanh},
        {"gelu_accurate", Activation::gelu_tanh},
        {"gelu_tanh", Activation::gelu_tanh},
        {"relu", Activation::relu},
        {"relu2", Activation::relu_squared},
    }};

int size_or(Fields& config, std::string_view name, IntRange range, int other) {
  if (other == 0) {
    return static_cast<int>(config.needed_integer(name, range));
  }
  return static_cast<int>(config.integer(name, range).value_or(other));
}

int read_head_dim(Fields& config, const Family& family, const Sizes& sizes) {
  const auto given = config.integer("head_dim", {1, kMaxHeadDim});
  if (given) {
    return static_cast<int>(*given);
  }
  if (family.head_dim != 0) {
    return family.head_dim;
  }
  if (sizes.dim % sizes.heads != 0) {
    config.refuse(
        "hidden_size",
        fmt::format(
            "It must be a multiple of num_attention_heads, {}, where head_dim "
            "isn't given",
            sizes.heads));
  }
  if (sizes.dim / sizes.heads > kMaxHeadDim) {
    config.refuse(
        "num_attention_heads",
        fmt::format("Heads of more than {} dims can't be", kMaxHeadDim));
  }
  return sizes.dim / sizes.heads;
}

Activation read_activation(Fields& config, const Family& family) {
  // Other names for the field stand in old files and are not read by the
  // reference, unless they are all there is.
  for (std::string_view other : {"hidden_act", "hidden_activation"}) {
    if (family.activation == Activation::gelu_tanh) {
      config.find(other);
    }
  }
  const auto name = config.text(family.activation_field);
  if (!name) {
    return family.activation;
  }
  std::vector<std::string> names;
  for (const auto& [known, activation] : kActivations) {
    if (known == *name) {
      const bool tanh = family.gelu_means_tanh && known == "gelu";
      return tanh ? Activation::gelu_tanh : activation;
    }
    names.emplace_back(known);
  }
  fail<UnsupportedError>(
      fmt::format(
          "{} is {}",
          config.label(family.activation_field),
          shown(*name)),
      fmt::format("The ones known are {}", fmt::join(names, ", ")),
      did_you_mean(*name, names));
}

/// true: the layer has positions.
std::vector<bool> read_roped(Fields& config, const Family& family, int layers) {
  std::vector<bool> roped(static_cast<std::size_t>(layers), true);
  if (family.no_rope_interval == 0) {
    return roped;
  }
  const auto interval = config.integer("no_rope_layer_interval", {1, 1 << 20})
                            .value_or(family.no_rope_interval);
  const auto listed = config.integers("no_rope_layers", {0, 1}, roped.size());
  if (listed && listed->size() != roped.size()) {
    config.refuse(
        "no_rope_layers",
        fmt::format("There must be one number for each of {} layers", layers));
  }
  for (std::size_t i = 0; i < roped.size(); ++i) {
    const bool by_interval = static_cast<std::int64_t>(i + 1) % interval != 0;
    roped[i] = listed ? (*listed)[i] != 0 : by_interval;
  }
  return roped;
}

std::optional<int> read_window(Fields& config, const Family& family) {
  if (family.window == WindowRule::none) {
    return std::nullopt;
  }
  if (family.window_switch &&
      !config.flag("use_sliding_window").value_or(false)) {
    config.find("sliding_window");
    return std::nullopt;
  }
  const bool absent = !config.object().contains("sliding_window");
  const auto given = config.integer("sliding_window", kWindow);
  std::optional<int> window = absent ? family.window_tokens : std::nullopt;
  if (given) {
    window = static_cast<int>(*given);
  }
  // A second name that the first files of Gemma 2 have.
  const auto twin = config.integer("sliding_window_size", kWindow);
  if (twin && (!window || *twin != *window)) {
    config.refuse("sliding_window_size", "It must be that of sliding_window");
  }
  return window;
}

std::vector<bool> windows_by_type(
    Fields& config,
    const Json& types,
    std::size_t layers) {
  if (!types.is_array() || types.size() != layers) {
    config.refuse(
        "layer_types",
        fmt::format("There must be one name for each of {} layers", layers));
  }
  std::vector<bool> windowed;
  for (const Json& type : types) {
    if (type != "full_attention" && type != "sliding_attention") {
      fail<UnsupportedError>(
          fmt::format("{} has {}", config.label("layer_types"), shown(type)),
          "Known are full_attention and sliding_attention",
          "");
    }
    windowed.push_back(type == "sliding_attention");
  }
  return windowed;
}

/// true: the layer sees a window only (if the model has one at all).
std::vector<bool> windows_by_rule(
    Fields& config,
    const Family& family,
    const std::vector<bool>& roped) {
  std::vector<bool> windowed(roped.size(), family.window == WindowRule::all);
  std::int64_t first = INT64_MAX;
  if (family.window == WindowRule::past_first) {
    first = config.integer("max_window_layers", {0, 1 << 20}).value_or(28);
  }
  std::int64_t pattern = 1;
  if (family.window == WindowRule::pattern) {
    // The underscored one is a note of the program that wrote the file.
    config.find("_sliding_window_pattern");
    pattern = config.integer("sliding_window_pattern", {1, 1 << 20})
                  .value_or(family.window_pattern);
  }
  for (std::size_t i = 0; i < windowed.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    if (family.window == WindowRule::past_first) {
      windowed[i] = layer >= first;
    } else if (family.window == WindowRule::pattern) {
      windowed[i] = (layer + 1) % pattern != 0;
    } else if (family.window == WindowRule::without_rope) {
      windowed[i] = !roped[i];
    }
  }
  return windowed;
}

/// The window of each layer.
std::vector<std::optional<int>> read_windows(
    Fields& config,
    const Family& family,
    const std::vector<bool>& roped) {
  const std::optional<int> window = read_window(config, family);
  const std::vector<bool> by_rule = windows_by_rule(config, family, roped);
  std::vector<std::optional<int>> out(roped.size());
  const Json* types = config.find("layer_types");
  const std::vector<bool> by_type =
      types ? windows_by_type(config, *types, roped.size()) : by_rule;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (types && by_type[i] && !window) {
      config.refuse(
          "layer_types",
          "It names sliding_attention where there is no sliding_window");
    }
    if (types && !family.layer_types &&
        by_type[i] != (by_rule[i] && window.has_value())) {
      fail<UnsupportedError>(
          fmt::format("{} mixes kinds of layers", config.label("layer_types")),
          fmt::format("All layers of family {} are alike", family.name),
          "");
    }
    out[i] = by_type[i] ? window : std::nullopt;
  }
  return out;
}

float read_scale(Fields& config, const Family& family, int head_dim) {
  double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  if (family.scale == ScaleRule::query_scalar) {
    const auto scalar = config.number("query_pre_attn_scalar", kPositive);
    scale = 1.0 / std::sqrt(scalar.value_or(256.0));
  } else if (family.scale == ScaleRule::multiplier) {
    scale = config.number("attention_multiplier", kPositive).value_or(1.0);
  }
  return static_cast<float>(scale);
}

/// The layer before its window and positions are known.
LayerSpec read_layer(Fields& config, const Family& family, const Sizes& sizes) {
  LayerSpec layer;
  layer.norm_placement = family.norm_placement;
  layer.norm.eps = static_cast<float>(
      config.number("rms_norm_eps", {0.0, 1.0}).value_or(family.norm_eps));
  layer.norm.plus_one = family.norm_plus_one;
  AttentionSpec& attention = *layer.attention;
  attention.heads = sizes.heads;
  attention.kv_heads = sizes.kv_heads;
  attention.head_dim = sizes.head_dim;
  attention.qk_norm = family.qk_norm;
  attention.scale = read_scale(config, family, sizes.head_dim);
  attention.softcap = read_softcap(
      config,
      "attn_logit_softcapping",
      family.attention_softcap_field,
      family.attention_softcap);
  attention.qkv_bias = family.bias == BiasRule::qkv_always;
  if (family.bias == BiasRule::field) {
    attention.qkv_bias = config.flag("attention_bias").value_or(false);
    attention.output_bias = attention.qkv_bias;
  }
  layer.feed_forward->hidden = sizes.hidden;
  layer.feed_forward->activation = read_activation(config, family);
  if (family.feed_forward_bias_field) {
    layer.feed_forward->bias = config.flag("mlp_bias").value_or(false);
  }
  if (family.multipliers) {
    layer.residual_scale = static_cast<float>(
        config.number("residual_multiplier", kMultiplier).value_or(1.0));
  }
  return layer;
}

}  // namespace

Sizes read_sizes(Fields& config, const Family& family) {
  const DefaultSizes& other = family.sizes;
  Sizes sizes;
  sizes.dim = size_or(config, "hidden_size", kDims, other.dim);
  sizes.hidden = size_or(config, "intermediate_size", kDims, other.hidden);
  sizes.layers =
      size_or(config, "num_hidden_layers", {1, kMaxLayers}, other.layers);
  sizes.heads = size_or(config, "num_attention_heads", kDims, other.heads);
  sizes.vocab = size_or(config, "vocab_size", {1, kMaxVocab}, other.vocab);
  const int kv_other = family.kv_heads == 0 ? sizes.heads : family.kv_heads;
  // null means "as many as heads" where absent means the family's default.
  const bool null = config.object().contains("num_key_value_heads") &&
                    !config.find("num_key_value_heads");
  sizes.kv_heads = size_or(
      config,
      "num_key_value_heads",
      kDims,
      null ? sizes.heads : kv_other);
  if (sizes.heads % sizes.kv_heads != 0) {
    config.refuse(
        "num_attention_heads",
        fmt::format(
            "It must be a multiple of num_key_value_heads, {}",
            sizes.kv_heads));
  }
  sizes.head_dim = read_head_dim(config, family, sizes);
  if (std::int64_t{sizes.heads} * sizes.head_dim > kMaxDim) {
    config.refuse(
        "num_attention_heads",
        fmt::format("Times head_dim, {}, it is too much", sizes.head_dim));
  }
  sizes.context = config.integer("max_position_embeddings", {1, kMaxContext})
                      .value_or(family.context_tokens);
  return sizes;
}

std::optional<float> read_softcap(
    Fields& config,
    std::string_view name,
    bool readable,
    std::optional<float> other) {
  if (!readable || !config.object().contains(name)) {
    return other;
  }
  const auto cap = config.number(name, kPositive);
  return cap ? std::optional<float>(static_cast<float>(*cap)) : std::nullopt;
}

void read_layers(
    Fields& config,
    const Family& family,
    const Sizes& sizes,
    ModelSpec& spec) {
  const LayerSpec layer = read_layer(config, family, sizes);
  const LayerRopes ropes =
      read_ropes(config, family, sizes.head_dim, sizes.context);
  const std::vector<bool> roped = read_roped(config, family, sizes.layers);
  const auto windows = read_windows(config, family, roped);
  spec.final_norm = layer.norm;
  spec.layers.assign(roped.size(), layer);
  for (std::size_t i = 0; i < roped.size(); ++i) {
    AttentionSpec& attention = *spec.layers[i].attention;
    attention.window_tokens = windows[i];
    if (roped[i]) {
      attention.rope = windows[i] ? ropes.sliding : ropes.full;
    }
  }
}

}  // namespace roofline
