#include "roofline/spec/gguf_layers.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/gguf_extras.h"
#include "roofline/spec/gguf_rope.h"
#include "roofline/spec/read_gguf_mixture.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr IntRange kWindow{0, 1 << 30};

struct Shape {
  int dim = 0;
  int extra_layers = 0;
  std::vector<int> hidden;
  std::vector<int> heads;
  std::vector<int> kv_heads;
  int head_dim = 0;          ///< of layers that see all
  int sliding_head_dim = 0;  ///< of those with a window
  std::int64_t context = 0;
};

/// suffix: "" or "_swa".
int read_head_dim(
    GgufKeys& keys,
    const Shape& shape,
    const std::string& suffix) {
  const IntRange dims{1, kMaxHeadDim};
  const auto key_length = keys.integer("attention.key_length" + suffix, dims);
  const auto value_length =
      keys.integer("attention.value_length" + suffix, dims);
  const int heads = *std::max_element(shape.heads.begin(), shape.heads.end());
  const int derived = shape.dim / heads;
  const auto head_dim = static_cast<int>(key_length.value_or(derived));
  if (value_length.value_or(head_dim) != head_dim) {
    fail<UnsupportedError>(
        fmt::format(
            "{} is {} and the keys have {}",
            keys.key("attention.value_length" + suffix),
            *value_length,
            head_dim),
        "Keys and values of one length are known only",
        "");
  }
  if (head_dim < 1 || head_dim > kMaxHeadDim ||
      (!key_length && shape.dim % heads != 0)) {
    keys.fields.refuse(
        keys.key("attention.head_count"),
        fmt::format("It must divide the model's {} dims", shape.dim));
  }
  return head_dim;
}

Shape read_shape(GgufKeys& keys, const Family& family) {
  Shape shape;
  const int blocks = keys.size("block_count", kMaxLayers);
  shape.extra_layers = static_cast<int>(keys.extra_layers());
  if (shape.extra_layers >= blocks) {
    keys.fields.refuse(
        keys.key("nextn_predict_layers"),
        fmt::format("There are {} blocks in all", blocks));
  }
  const auto layers = static_cast<std::size_t>(blocks - shape.extra_layers);
  // A layer that has no such part has a zero.
  const IntRange dims{family.recurrent ? 0 : 1, kMaxDim};
  shape.dim = keys.size("embedding_length", kMaxDim);
  const auto needed = [&](std::string_view name) {
    auto values = keys.per_layer(name, dims, layers);
    if (!values) {
      keys.fields.refuse(
          keys.key(name),
          "A model of this family can't do without it");
    }
    return *values;
  };
  shape.hidden = needed("feed_forward_length");
  shape.heads = needed("attention.head_count");
  shape.kv_heads = keys.per_layer("attention.head_count_kv", dims, layers)
                       .value_or(shape.heads);
  shape.context = keys.integer("context_length", {1, kMaxContext})
                      .value_or(family.context_tokens);
  if (*std::max_element(shape.heads.begin(), shape.heads.end()) == 0) {
    return shape;
  }
  // Of a latent the dims follow from its own keys.
  shape.head_dim = family.latent
                       ? keys.size("rope.dimension_count", kMaxHeadDim)
                       : read_head_dim(keys, shape, "");
  shape.sliding_head_dim = family.full_head_dim
                               ? read_head_dim(keys, shape, "_swa")
                               : shape.head_dim;
  for (std::size_t i = 0; i < layers; ++i) {
    if (shape.kv_heads[i] == 0) {
      continue;
    }
    if (shape.heads[i] % shape.kv_heads[i] != 0 ||
        std::int64_t{shape.heads[i]} * shape.head_dim > kMaxDim) {
      keys.fields.refuse(
          keys.key("attention.head_count"),
          fmt::format(
              "It doesn't go with {} key-value heads of {} dims",
              shape.kv_heads[i],
              shape.head_dim));
    }
  }
  return shape;
}

/// Which layers have a window: a list, or all but every so many-th.
std::vector<bool> read_windowed(
    GgufKeys& keys,
    const Family& family,
    std::size_t layers) {
  const std::string key = keys.key("attention.sliding_window_pattern");
  const Json* pattern = keys.fields.find(key);
  const bool all = family.gguf_window == WindowRule::all;
  std::int64_t period = all ? 0 : family.window_pattern;
  if (pattern && !pattern->is_array()) {
    period = *keys.fields.integer(key, {0, 1 << 20});
  }
  if (const auto listed =
          keys.flags("attention.sliding_window_pattern", layers)) {
    return *listed;
  }
  std::vector<bool> out;
  for (std::size_t i = 0; i < layers; ++i) {
    out.push_back(
        period == 0 || (static_cast<std::int64_t>(i) + 1) % period != 0);
  }
  return out;
}

/// The window of each layer.
std::vector<std::optional<int>> read_windows(
    GgufKeys& keys,
    const Family& family,
    std::size_t layers) {
  const auto given = keys.integer("attention.sliding_window", kWindow);
  const int window =
      static_cast<int>(given.value_or(family.gguf_window_tokens.value_or(0)));
  const std::vector<bool> windowed = read_windowed(keys, family, layers);
  std::vector<std::optional<int>> out(layers);
  if (window != 0 && family.gguf_window == WindowRule::none) {
    fail<UnsupportedError>(
        fmt::format("{} is {}", keys.key("attention.sliding_window"), window),
        "Windows in files of this architecture aren't known",
        "");
  }
  for (std::size_t i = 0; i < layers; ++i) {
    if (window != 0 && windowed[i]) {
      out[i] = window;
    }
  }
  return out;
}

float read_scale(GgufKeys& keys, const Family& family, const Shape& shape) {
  const double given =
      keys.number("attention.scale", kMultiplier).value_or(0.0);
  if (given != 0.0) {
    return static_cast<float>(given);
  }
  if (family.scale == ScaleRule::one) {
    return 1.0f;
  }
  const bool wide = family.gguf_wide_scale_layers != 0 &&
                    shape.heads.size() ==
                        static_cast<std::size_t>(family.gguf_wide_scale_layers);
  const double dims =
      wide ? shape.dim / shape.heads.front() : std::max(1, shape.head_dim);
  return static_cast<float>(1.0 / std::sqrt(dims));
}

NormSpec read_norm(GgufKeys& keys, const Family& family) {
  NormSpec norm;
  norm.kind = family.norm_kind;
  norm.bias = family.norm_bias;
  norm.affine = family.norm_affine;
  // What is added to the weight is in the file's weight already.
  constexpr std::string_view kRms = "attention.layer_norm_rms_epsilon";
  constexpr std::string_view kLayer = "attention.layer_norm_epsilon";
  const auto has = [&](std::string_view name) {
    return keys.number(name, {0.0, 1.0}).has_value();
  };
  // Phi's mixtures have layer norms and the other norms' key, and files of
  // nemotron_h the reverse.
  const bool own = family.norm_kind == NormKind::layer
                       ? has(kLayer) || !has(kRms)
                       : has(kLayer) && !has(kRms);
  norm.eps = static_cast<float>(
      keys.fields.needed_number(keys.key(own ? kLayer : kRms), {0.0, 1.0}));
  return norm;
}

NormPlacement read_placement(GgufKeys& keys, const Family& family) {
  if (!family.parallel_rule) {
    return family.norm_placement;
  }
  const bool parallel = keys.fields.flag(keys.key("use_parallel_residual"))
                            .value_or(family.parallel_rule->flag.absent);
  return parallel ? family.parallel_rule->parallel : family.norm_placement;
}

AttentionSpec read_attention(
    GgufKeys& keys,
    const Family& family,
    const Shape& shape,
    const NormSpec& norm) {
  AttentionSpec attention;
  attention.head_dim = shape.head_dim;
  // Where only some models have one, the tensors tell.
  attention.qk_norm = family.qk_norm;
  attention.qk_norm_place = family.qk_norm_place;
  if (norm.bias && !family.qk_norm_bias) {
    attention.qk_norm_spec = norm;
    attention.qk_norm_spec->bias = false;
  }
  attention.qkv_bias = family.qkv_bias.field.empty() && family.qkv_bias.absent;
  attention.value_norm = family.value_norm;
  attention.output_norm = family.attention_output_norm;
  attention.sinks = family.sinks;
  attention.scale = read_scale(keys, family, shape);
  attention.softcap = read_gguf_softcap(
      keys,
      "attn_logit_softcapping",
      family.attention_softcap_field,
      family.attention_softcap);
  if (!family.clip_field.empty()) {
    const double clip =
        keys.number("attention.clamp_kqv", {0.0, 1e9}).value_or(0.0);
    attention.clip = clip == 0.0
                         ? std::nullopt
                         : std::optional<float>(static_cast<float>(clip));
  }
  if (family.latent) {
    read_gguf_latent(keys, attention);
    attention.scale = gguf_latent_scale_factor(keys) /
                      std::sqrt(static_cast<float>(attention.head_dim));
  }
  return attention;
}

LayerSpec read_layer(GgufKeys& keys, const Family& family, const Shape& shape) {
  LayerSpec layer;
  layer.norm_placement = read_placement(keys, family);
  layer.norm = read_norm(keys, family);
  if (family.multipliers) {
    const double scale =
        keys.number("residual_scale", kMultiplier).value_or(0.0);
    layer.residual_scale = static_cast<float>(scale == 0.0 ? 1.0 : scale);
  }
  layer.attention = read_attention(keys, family, shape, layer.norm);
  layer.feed_forward->activation =
      family.gguf_activation.value_or(family.activation);
  layer.feed_forward->gated = family.gated;
  layer.feed_forward->hidden_norm = family.hidden_norm;
  if (family.clamped_glu) {
    layer.feed_forward->clamped_glu = ClampedGlu{};
  }
  return layer;
}

/// The scalars of each layer's activation; empty where it has none.
std::vector<Xielu> read_xielu(
    GgufKeys& keys,
    const Family& family,
    std::size_t layers) {
  if (family.activation != Activation::xielu) {
    return {};
  }
  std::vector<Xielu> out(layers);
  const auto read = [&](std::string_view name, float Xielu::*member) {
    const std::string key = fmt::format("xielu.{}", name);
    const auto numbers = keys.fields.numbers(key, kMultiplier, kMaxLayers);
    if (!numbers || numbers->size() != layers) {
      keys.fields.refuse(
          key,
          fmt::format(
              "There must be one number for each of {} layers",
              layers));
    }
    for (std::size_t i = 0; i < layers; ++i) {
      out[i].*member = static_cast<float>((*numbers)[i]);
    }
  };
  read("alpha_p", &Xielu::alpha_p);
  read("alpha_n", &Xielu::alpha_n);
  read("beta", &Xielu::beta);
  read("eps", &Xielu::eps);
  return out;
}

/// Whether a layer has positions.
bool has_rope(
    const Family& family,
    const std::vector<std::optional<int>>& windows,
    std::size_t layer) {
  const bool windowed = windows[layer].has_value();
  const bool any =
      std::any_of(windows.begin(), windows.end(), [](const auto& window) {
        return window.has_value();
      });
  const auto interval = static_cast<std::size_t>(family.no_rope_interval);
  switch (family.rope) {
    case RopeRule::all:
      return interval == 0 || (layer + 1) % interval != 0;
    case RopeRule::windowed_only:
      return windowed;
    case RopeRule::windowed_if_any:
      return windowed || !any;
    case RopeRule::none:
      break;
  }
  return false;
}

}  // namespace

void read_gguf_layers(
    GgufKeys& keys,
    const Family& family,
    const GgufRopeFactors& tensors,
    ModelSpec& spec) {
  const Shape shape = read_shape(keys, family);
  spec.dim = shape.dim;
  spec.context_tokens = shape.context;
  spec.extra_layers = shape.extra_layers;
  if (family.learned_positions) {
    spec.learned_positions =
        static_cast<int>(std::min<std::int64_t>(shape.context, kMaxVocab));
  }
  const LayerSpec layer = read_layer(keys, family, shape);
  const std::size_t layers = shape.heads.size();
  const auto windows = read_windows(keys, family, layers);
  const LayerRopes ropes = family.rope == RopeRule::none
                               ? LayerRopes()
                               : read_gguf_ropes(
                                     keys,
                                     family,
                                     {shape.head_dim, shape.sliding_head_dim},
                                     shape.context,
                                     tensors);
  const std::vector<Xielu> xielu = read_xielu(keys, family, layers);
  // Granite's files without positions say so with this key.
  const bool roped =
      keys.fields.flag(keys.key("rope.scaling.finetuned")).value_or(true) ||
      !family.multipliers;
  spec.final_norm = layer.norm;
  spec.layers.assign(layers, layer);
  for (std::size_t i = 0; i < layers; ++i) {
    LayerSpec& own = spec.layers[i];
    own.attention->heads = shape.heads[i];
    own.attention->kv_heads = shape.kv_heads[i];
    own.attention->window_tokens = windows[i];
    if (family.full_head_dim && windows[i]) {
      own.attention->head_dim = shape.sliding_head_dim;
    }
    own.attention->query_temperature = ropes.query_temperature;
    own.feed_forward->hidden = shape.hidden[i];
    if (!xielu.empty()) {
      own.feed_forward->xielu = xielu[i];
    }
    if (roped && has_rope(family, windows, i)) {
      own.attention->rope = windows[i] ? ropes.sliding : ropes.full;
    }
  }
  read_gguf_extras(keys, family, spec);
}

std::optional<float> read_gguf_softcap(
    GgufKeys& keys,
    std::string_view name,
    bool readable,
    std::optional<float> other) {
  if (!readable) {
    return std::nullopt;
  }
  const auto cap = keys.number(name, {0.0, 1e9});
  if (!cap) {
    return other;
  }
  return *cap == 0.0 ? std::nullopt
                     : std::optional<float>(static_cast<float>(*cap));
}

}  // namespace roofline
