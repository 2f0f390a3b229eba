#include "roofline/spec/read_extras.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

/// "per_layer_config": by the layers' numbers, as newer files have it.
void read_layer_overrides(
    Fields& config,
    const Windows& windows,
    FullHeads& heads) {
  constexpr std::string_view kName = "per_layer_config";
  const Json* given = config.find(kName);
  if (!given) {
    return;
  }
  if (!given->is_object()) {
    config.refuse(kName, "It must be an object");
  }
  if (given->empty()) {
    return;
  }
  const Json& first = given->begin().value();
  for (std::size_t i = 0; i < windows.layers.size(); ++i) {
    const auto found = given->find(fmt::format("{}", i));
    const bool full = !windows.layers[i].has_value();
    if (full != (found != given->end()) || (full && *found != first)) {
      fail<UnsupportedError>(
          fmt::format(
              "{} gives layer {} a size of its own",
              config.label(kName),
              i),
          "It is known for all layers that see all, alike, and for no others",
          "");
    }
  }
  Fields own(first, config.label(kName) + ".");
  const auto head_dim = own.integer("head_dim", {1, kMaxHeadDim});
  const auto kv_heads = own.integer("num_key_value_heads", kDims);
  heads.head_dim = static_cast<int>(head_dim.value_or(heads.head_dim));
  heads.kv_heads = static_cast<int>(kv_heads.value_or(heads.kv_heads));
  if (!own.unread().empty()) {
    fail<UnsupportedError>(
        fmt::format("{} has {}", config.label(kName), own.unread().front()),
        "Known are head_dim and num_key_value_heads",
        "");
  }
}

void read_hidden(Fields& config, const Family& family, ModelSpec& spec) {
  const Json* hidden = config.find(family.names.hidden);
  if (hidden && hidden->is_array()) {
    const auto listed = config.integers(family.names.hidden, kDims, kMaxLayers);
    if (listed->size() != spec.layers.size()) {
      config.refuse(
          family.names.hidden,
          fmt::format(
              "There must be one number for each of {} layers",
              spec.layers.size()));
    }
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
      spec.layers[i].feed_forward->hidden = static_cast<int>((*listed)[i]);
    }
  }
  if (!config.flag("use_double_wide_mlp").value_or(false)) {
    return;
  }
  for (LayerSpec& layer : spec.layers) {
    if (layer.attention->shares_kv_of_layer) {
      layer.feed_forward->hidden *= 2;
    }
  }
}

void read_sparsity(Fields& config, ModelSpec& spec) {
  constexpr std::string_view kName = "activation_sparsity_pattern";
  // What the reference does without the field.
  constexpr std::size_t kSparse = 10;
  constexpr double kShare = 0.95;
  const std::size_t layers = spec.layers.size();
  const auto shares = config.numbers(kName, {0.0, 0.999999}, kMaxLayers);
  if (shares && shares->size() != layers) {
    config.refuse(
        kName,
        fmt::format("There must be one number for each of {} layers", layers));
  }
  for (std::size_t i = 0; i < layers; ++i) {
    const double absent = layers > kSparse && i < kSparse ? kShare : 0.0;
    const double share = shares ? (*shares)[i] : absent;
    if (share > 0.0) {
      spec.layers[i].feed_forward->gate_sparsity = static_cast<float>(share);
    }
  }
}

void read_per_layer(Fields& config, const Family& family, ModelSpec& spec) {
  const auto width = static_cast<int>(
      config.integer("hidden_size_per_layer_input", {0, kMaxDim})
          .value_or(*family.per_layer_embedding));
  const auto rows = static_cast<int>(
      config.integer("vocab_size_per_layer_input", {1, kMaxVocab})
          .value_or(family.per_layer_vocab));
  if (width > 0) {
    spec.per_layer_embedding = width;
    spec.per_layer_vocab = rows;
  }
}

void read_streams(Fields& config, ModelSpec& spec) {
  AlternatingStreams streams;
  streams.count = static_cast<int>(
      config.integer("altup_num_inputs", {1, 64}).value_or(streams.count));
  streams.active = static_cast<int>(
      config.integer("altup_active_idx", {0, streams.count - 1})
          .value_or(streams.active));
  const auto clip = config.number("altup_coef_clip", {0.0, 1e9});
  streams.coefficient_clip = static_cast<float>(clip.value_or(120.0));
  streams.scale_corrected = config.flag("altup_correct_scale").value_or(true);
  spec.streams = streams;
}

}  // namespace

FullHeads read_full_heads(
    Fields& config,
    const Family& family,
    const Sizes& sizes,
    const Windows& windows) {
  FullHeads heads{sizes.head_dim, sizes.kv_heads, false};
  if (!family.full_head_dim) {
    return heads;
  }
  heads.values_are_keys = config.flag("attention_k_eq_v").value_or(false);
  const auto kv_heads = config.integer("num_global_key_value_heads", kDims);
  heads.head_dim =
      static_cast<int>(config.integer("global_head_dim", {1, kMaxHeadDim})
                           .value_or(*family.full_head_dim));
  if (heads.values_are_keys) {
    heads.kv_heads = static_cast<int>(kv_heads.value_or(heads.kv_heads));
  }
  if (config.find("per_layer_config")) {
    heads.head_dim = sizes.head_dim;
    heads.kv_heads = sizes.kv_heads;
    read_layer_overrides(config, windows, heads);
  }
  if (sizes.heads % heads.kv_heads != 0) {
    config.refuse(
        "num_attention_heads",
        fmt::format(
            "It must be a multiple of the {} key-value heads of layers that "
            "see all",
            heads.kv_heads));
  }
  return heads;
}

void share_keys_and_values(
    Fields& config,
    std::string_view name,
    std::size_t shared,
    ModelSpec& spec) {
  const std::size_t first = spec.layers.size() - shared;
  for (std::size_t i = first; i < spec.layers.size(); ++i) {
    AttentionSpec& own = *spec.layers[i].attention;
    for (std::size_t j = 0; j < first; ++j) {
      const AttentionSpec& other = *spec.layers[j].attention;
      if (other.window_tokens == own.window_tokens) {
        own.shares_kv_of_layer = static_cast<int>(j);
      }
    }
    if (!own.shares_kv_of_layer) {
      config.refuse(
          name,
          fmt::format("No layer before layer {} is of its kind", first));
    }
  }
}

void read_extras(Fields& config, const Family& family, ModelSpec& spec) {
  if (family.shared_kv_layers) {
    constexpr std::string_view kName = "num_kv_shared_layers";
    const auto most = static_cast<std::int64_t>(spec.layers.size()) - 1;
    const auto shared =
        config.integer(kName, {0, most}).value_or(*family.shared_kv_layers);
    if (shared > most) {
      config.refuse(kName, fmt::format("It must be at most {}", most));
    }
    share_keys_and_values(
        config,
        kName,
        static_cast<std::size_t>(shared),
        spec);
    read_hidden(config, family, spec);
  }
  if (family.gate_sparsity) {
    read_sparsity(config, spec);
  }
  if (family.per_layer_embedding) {
    read_per_layer(config, family, spec);
  }
  if (family.streams) {
    read_streams(config, spec);
  }
  for (LayerSpec& layer : spec.layers) {
    layer.output_scalar = family.output_scalar;
    if (family.twin_rank) {
      layer.low_rank_twin = static_cast<int>(
          config.integer("laurel_rank", kDims).value_or(*family.twin_rank));
    }
  }
}

}  // namespace roofline
