#include "roofline/spec/read_layers.h"

#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/activation_names.h"
#include "roofline/spec/read_extras.h"
#include "roofline/spec/read_latent.h"
#include "roofline/spec/read_mixture.h"
#include "roofline/spec/read_recurrent.h"
#include "roofline/spec/read_rope.h"
#include "roofline/spec/read_windows.h"

namespace roofline {

namespace {

constexpr NumberRange kPositive{1e-9, 1e9};

Activation read_own_activation(Fields& config, const Family& family) {
  // Other names for the field stand in old files and are not read by the
  // reference, unless they are all there is.
  for (std::string_view other : {"hidden_act", "hidden_activation"}) {
    if (family.activation == Activation::gelu_tanh) {
      config.find(other);
    }
  }
  return read_activation(
      config,
      family,
      family.activation_field,
      family.activation);
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

/// True where the flag is set, or what its absence means.
bool is_set(Fields& config, const FlagRule& rule) {
  return rule.field.empty() ? rule.absent
                            : config.flag(rule.field).value_or(rule.absent);
}

/// Which layers have positions once their windows are known.
void apply_rope_rule(
    const Family& family,
    const Windows& windows,
    std::vector<bool>& roped) {
  for (std::size_t i = 0; i < roped.size(); ++i) {
    switch (family.rope) {
      case RopeRule::all:
        break;
      case RopeRule::windowed_only:
        roped[i] = windows.layers[i].has_value();
        break;
      case RopeRule::windowed_if_any:
        roped[i] = !windows.any || windows.layers[i].has_value();
        break;
      case RopeRule::none:
        roped[i] = false;
        break;
    }
  }
}

float read_scale(
    Fields& config,
    const Family& family,
    int head_dim,
    std::size_t layer) {
  double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  if (family.scale == ScaleRule::query_scalar) {
    const auto scalar = config.number("query_pre_attn_scalar", kPositive);
    scale = 1.0 / std::sqrt(scalar.value_or(256.0));
  } else if (family.scale == ScaleRule::multiplier) {
    scale = config.number("attention_multiplier", kPositive).value_or(1.0);
  } else if (family.scale == ScaleRule::one) {
    scale = 1.0;
  } else if (family.scale == ScaleRule::flags) {
    scale = is_set(config, {"scale_attn_weights", true}) ? scale : 1.0;
    if (is_set(config, {"scale_attn_by_inverse_layer_idx"})) {
      scale /= static_cast<double>(layer + 1);
    }
  }
  return static_cast<float>(scale);
}

NormSpec read_norm(Fields& config, const Family& family) {
  NormSpec norm;
  norm.kind = family.norm_kind;
  norm.bias = family.norm_bias;
  norm.affine = family.norm_affine;
  norm.plus_one = family.norm_plus_one;
  norm.eps = static_cast<float>(family.norm_eps);
  if (!family.norm_eps_field.empty()) {
    norm.eps =
        static_cast<float>(config.number(family.norm_eps_field, {0.0, 1.0})
                               .value_or(family.norm_eps));
  }
  return norm;
}

/// The attention before its window, positions and scale are known.
AttentionSpec read_attention(
    Fields& config,
    const Family& family,
    const Sizes& sizes,
    const NormSpec& norm) {
  AttentionSpec attention;
  attention.heads = sizes.heads;
  attention.kv_heads = sizes.kv_heads;
  attention.head_dim = sizes.head_dim;
  if (is_set(config, family.qk_norm_rule)) {
    attention.qk_norm = family.qk_norm;
    attention.qk_norm_place = family.qk_norm_place;
    if (norm.bias && !family.qk_norm_bias) {
      attention.qk_norm_spec = norm;
      attention.qk_norm_spec->bias = false;
    }
  }
  attention.softcap = read_softcap(
      config,
      "attn_logit_softcapping",
      family.attention_softcap_field,
      family.attention_softcap);
  attention.qkv_bias = is_set(config, family.qkv_bias);
  attention.output_bias = is_set(config, family.output_bias);
  attention.value_norm = family.value_norm;
  attention.output_norm = family.attention_output_norm;
  attention.sinks = family.sinks;
  if (!family.clip_field.empty()) {
    const auto clip = config.number(family.clip_field, kPositive);
    attention.clip =
        clip ? std::optional<float>(static_cast<float>(*clip)) : std::nullopt;
  }
  return attention;
}

/// The layer before its window and positions are known.
LayerSpec read_layer(Fields& config, const Family& family, const Sizes& sizes) {
  LayerSpec layer;
  layer.norm_placement = family.norm_placement;
  if (family.parallel_rule && is_set(config, family.parallel_rule->flag)) {
    layer.norm_placement = family.parallel_rule->parallel;
  }
  layer.norm = read_norm(config, family);
  layer.attention = read_attention(config, family, sizes, layer.norm);
  FeedForwardSpec& feed_forward = *layer.feed_forward;
  feed_forward.hidden = sizes.hidden;
  feed_forward.gated = family.gated;
  feed_forward.hidden_norm = family.hidden_norm;
  feed_forward.activation = read_own_activation(config, family);
  feed_forward.bias = is_set(config, family.feed_forward_bias);
  if (family.clamped_glu) {
    const auto number = [&](std::string_view name, float other) {
      return static_cast<float>(config.number(name, kPositive).value_or(other));
    };
    feed_forward.clamped_glu = ClampedGlu{
        number("swiglu_limit", ClampedGlu{}.limit),
        number("swiglu_alpha", ClampedGlu{}.alpha)};
  }
  if (family.multipliers) {
    layer.residual_scale = static_cast<float>(
        config.number("residual_multiplier", kMultiplier).value_or(1.0));
  }
  return layer;
}

}  // namespace

Activation read_activation(
    Fields& config,
    const Family& family,
    std::string_view field,
    Activation absent) {
  const auto name = config.text(field);
  if (!name) {
    return absent;
  }
  const auto activation = activation_named(*name);
  // It has scalars of its own, in families made for it.
  if (activation && (*activation != Activation::xielu ||
                     family.activation == Activation::xielu)) {
    const bool tanh = family.gelu_means_tanh && *name == "gelu";
    return tanh ? Activation::gelu_tanh : *activation;
  }
  const std::vector<std::string> names = activation_names();
  fail<UnsupportedError>(
      fmt::format("{} is {}", config.label(field), shown(*name)),
      fmt::format("The ones known are {}", fmt::join(names, ", ")),
      did_you_mean(*name, names));
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
  LayerSpec layer = read_layer(config, family, sizes);
  std::vector<bool> roped = read_roped(config, family, sizes.layers);
  const auto windows =
      family.recurrent
          ? Windows{false, std::vector<std::optional<int>>(roped.size())}
          : read_windows(config, family, roped);
  const FullHeads full = read_full_heads(config, family, sizes, windows);
  HeadDims rope_dims{full.head_dim, sizes.head_dim};
  float scale_factor = 1.0f;
  if (family.latent) {
    read_latent(config, *layer.attention);
    const int dims = layer.attention->latent->rope_dim;
    rope_dims = {dims, dims};
    scale_factor = latent_scale_factor(config);
  }
  LayerRopes ropes = family.rope == RopeRule::none
                         ? LayerRopes()
                         : read_ropes(config, family, rope_dims, sizes.context);
  if (family.latent) {
    ropes.full.layout = latent_rope_layout(config, family);
  }
  apply_rope_rule(family, windows, roped);
  spec.final_norm = layer.norm;
  spec.layers.assign(roped.size(), layer);
  for (std::size_t i = 0; i < roped.size(); ++i) {
    AttentionSpec& attention = *spec.layers[i].attention;
    if (!windows.layers[i] && !family.latent) {
      attention.head_dim = full.head_dim;
      attention.kv_heads = full.kv_heads;
      attention.values_are_keys = full.values_are_keys;
    }
    attention.scale =
        scale_factor * read_scale(config, family, attention.head_dim, i);
    attention.query_temperature = ropes.query_temperature;
    attention.window_tokens = windows.layers[i];
    if (roped[i]) {
      attention.rope = windows.layers[i] ? ropes.sliding : ropes.full;
    }
  }
  read_recurrent(config, family, sizes, spec);
  read_mixtures(config, family, spec);
  read_extras(config, family, spec);
}

}  // namespace roofline
