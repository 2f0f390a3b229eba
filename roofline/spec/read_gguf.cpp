#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/gguf_keys.h"
#include "roofline/spec/gguf_rope.h"
#include "roofline/spec/read_config.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr NumberRange kMultiplier{-1e9, 1e9};
constexpr IntRange kWindow{0, 1 << 30};

struct Shape {
  int dim = 0;
  std::vector<int> hidden;
  std::vector<int> heads;
  std::vector<int> kv_heads;
  int head_dim = 0;
  std::int64_t context = 0;
};

int read_head_dim(GgufKeys& keys, const Shape& shape) {
  const auto key_length =
      keys.integer("attention.key_length", {1, kMaxHeadDim});
  const auto value_length =
      keys.integer("attention.value_length", {1, kMaxHeadDim});
  const int derived = shape.dim / shape.heads.front();
  const auto head_dim = static_cast<int>(key_length.value_or(derived));
  if (value_length.value_or(head_dim) != head_dim) {
    fail<UnsupportedError>(
        fmt::format(
            "{} is {} and the keys have {}",
            keys.key("attention.value_length"),
            *value_length,
            head_dim),
        "Keys and values of one length are known only",
        "");
  }
  if (head_dim < 1 || head_dim > kMaxHeadDim ||
      (!key_length && shape.dim % shape.heads.front() != 0)) {
    keys.fields.refuse(
        keys.key("attention.head_count"),
        fmt::format("It must divide the model's {} dims", shape.dim));
  }
  return head_dim;
}

Shape read_shape(GgufKeys& keys, const Family& family) {
  Shape shape;
  const auto layers =
      static_cast<std::size_t>(keys.size("block_count", kMaxLayers));
  const IntRange dims{1, kMaxDim};
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
  shape.head_dim = read_head_dim(keys, shape);
  for (std::size_t i = 0; i < layers; ++i) {
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
  shape.context = keys.integer("context_length", {1, kMaxContext})
                      .value_or(family.context_tokens);
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
  std::vector<bool> out;
  for (std::size_t i = 0; i < layers; ++i) {
    out.push_back(
        period == 0 || (static_cast<std::int64_t>(i) + 1) % period != 0);
  }
  if (!pattern || !pattern->is_array()) {
    return out;
  }
  if (pattern->size() != layers) {
    keys.fields.refuse(
        key,
        fmt::format("There must be one entry for each of {} layers", layers));
  }
  for (std::size_t i = 0; i < layers; ++i) {
    out[i] = (*pattern)[i] == Json(true) || (*pattern)[i] == Json(1);
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
  const bool wide = family.gguf_wide_scale_layers != 0 &&
                    shape.heads.size() ==
                        static_cast<std::size_t>(family.gguf_wide_scale_layers);
  const double dims = wide ? shape.dim / shape.heads.front() : shape.head_dim;
  return static_cast<float>(1.0 / std::sqrt(dims));
}

std::optional<float> read_softcap(
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

LayerSpec read_layer(GgufKeys& keys, const Family& family, const Shape& shape) {
  LayerSpec layer;
  layer.norm_placement = family.norm_placement;
  layer.norm.eps = static_cast<float>(keys.fields.needed_number(
      keys.key("attention.layer_norm_rms_epsilon"),
      {0.0, 1.0}));
  if (family.multipliers) {
    const double scale =
        keys.number("residual_scale", kMultiplier).value_or(0.0);
    layer.residual_scale = static_cast<float>(scale == 0.0 ? 1.0 : scale);
  }
  AttentionSpec& attention = *layer.attention;
  attention.head_dim = shape.head_dim;
  attention.qk_norm = family.qk_norm;
  attention.qkv_bias = family.qkv_bias.field.empty() && family.qkv_bias.absent;
  attention.scale = read_scale(keys, family, shape);
  attention.softcap = read_softcap(
      keys,
      "attn_logit_softcapping",
      family.attention_softcap_field,
      family.attention_softcap);
  layer.feed_forward->activation = family.activation;
  return layer;
}

void read_layers(
    GgufKeys& keys,
    const Family& family,
    const Shape& shape,
    const GgufRopeFactors& tensors,
    ModelSpec& spec) {
  const LayerSpec layer = read_layer(keys, family, shape);
  const std::size_t layers = shape.heads.size();
  const auto windows = read_windows(keys, family, layers);
  const LayerRopes ropes =
      read_gguf_ropes(keys, family, shape.head_dim, shape.context, tensors);
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
    own.feed_forward->hidden = shape.hidden[i];
    own.attention->window_tokens = windows[i];
    const bool skipped =
        family.no_rope_interval != 0 &&
        (i + 1) % static_cast<std::size_t>(family.no_rope_interval) == 0;
    if (roped && !skipped) {
      own.attention->rope = windows[i] ? ropes.sliding : ropes.full;
    }
  }
}

void read_scales(GgufKeys& keys, const Family& family, ModelSpec& spec) {
  if (family.embedding_scale_sqrt_dim) {
    spec.embedding_scale = std::sqrt(static_cast<float>(spec.dim));
  }
  if (family.multipliers) {
    const double embedding =
        keys.number("embedding_scale", kMultiplier).value_or(0.0);
    const double logits = keys.number("logit_scale", kMultiplier).value_or(0.0);
    spec.embedding_scale =
        static_cast<float>(embedding == 0.0 ? 1.0 : embedding);
    // The file has the divisor.
    spec.logit_scale = static_cast<float>(logits == 0.0 ? 1.0 : 1.0 / logits);
  }
  spec.logit_softcap = read_softcap(
      keys,
      "final_logit_softcapping",
      family.logit_softcap_field,
      family.logit_softcap);
}

/// Absent, and what tools write for "none": −1 in 32 bits.
std::optional<std::int32_t> read_token(Fields& fields, std::string_view name) {
  const auto id = fields.integer(name, {-1, UINT32_MAX});
  if (!id || *id < 0 || *id > kMaxVocab) {
    return std::nullopt;
  }
  return static_cast<std::int32_t>(*id);
}

void read_vocabulary(GgufKeys& keys, ModelSpec& spec) {
  const IntRange sizes{1, kMaxVocab};
  const auto listed =
      keys.fields.integer("tokenizer.ggml.tokens.length", sizes);
  const auto given = keys.integer("vocab_size", sizes);
  spec.vocab = static_cast<int>(given.value_or(listed.value_or(0)));
  spec.bos_token = read_token(keys.fields, "tokenizer.ggml.bos_token_id");
  for (std::string_view name :
       {"tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id"}) {
    const auto id = read_token(keys.fields, name);
    auto& tokens = spec.eos_tokens;
    if (id && std::find(tokens.begin(), tokens.end(), *id) == tokens.end()) {
      tokens.push_back(*id);
    }
  }
}

/// Keys of this architecture that don't change what is computed.
constexpr std::string_view kNotes[] = {
    "tensor_data_layout",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_log_multiplier",
    "rope.scaling.attn_factor",
    "rope.scale_linear",
    "rope.freq_base_swa",
    "attention.sliding_window_pattern",
    "attention.layer_norm_epsilon",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "rope.dimension_count_swa",
    "use_parallel_residual",
};

void refuse_unknown_keys(GgufKeys& keys) {
  for (std::string_view note : kNotes) {
    keys.fields.find(keys.key(note));
  }
  for (const std::string& name : keys.fields.unread()) {
    if (name.rfind(keys.prefix(), 0) != 0) {
      continue;
    }
    const Json& value = keys.fields.object().at(name);
    const bool neutral =
        value == Json(false) || value == Json(0) ||
        (value.is_structured() && value.empty()) ||
        (name == keys.key("attention.causal") && value == Json(true)) ||
        (name == keys.key("rope.scaling.mscale") && value == Json(1.0));
    if (neutral) {
      continue;
    }
    const std::string near = did_you_mean(name, keys.fields.known());
    fail<UnsupportedError>(
        fmt::format(
            "The metadata has {} = {}",
            name.substr(0, 100),
            shown(value)),
        "It may change what the model computes, so it isn't ignored",
        near);
  }
}

const Family& family_of(const Json& metadata) {
  Fields general(metadata, "");
  const auto name = general.text("general.architecture");
  if (!name) {
    general.refuse("general.architecture", "It names the family of the model");
  }
  if (const Family* family = find_gguf_family(*name)) {
    return *family;
  }
  const std::vector<std::string> known = gguf_architectures();
  fail<UnsupportedError>(
      fmt::format("general.architecture is {}", shown(*name)),
      fmt::format("The architectures known are {}", fmt::join(known, ", ")),
      did_you_mean(*name, known));
}

}  // namespace

ModelSpec read_gguf_metadata(
    const Json& metadata,
    const GgufRopeFactors& rope) {
  refuse_deep_nesting(metadata, "the metadata");
  const Family& family = family_of(metadata);
  GgufKeys keys(metadata, family);
  ModelSpec spec;
  spec.family = family.gguf_name;
  const Shape shape = read_shape(keys, family);
  spec.dim = shape.dim;
  spec.context_tokens = shape.context;
  read_layers(keys, family, shape, rope, spec);
  read_scales(keys, family, spec);
  read_vocabulary(keys, spec);
  refuse_unknown_keys(keys);
  return spec;
}

}  // namespace roofline
