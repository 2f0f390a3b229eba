#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/rope.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr NumberRange kTheta{1.001, 1e15};
constexpr NumberRange kFactor{0.0, 1e6};
constexpr NumberRange kMultiplier{-1e9, 1e9};
constexpr IntRange kWindow{0, 1 << 30};

/// Metadata under the keys of one architecture: "llama." + name.
class Keys {
 public:
  Keys(const Json& metadata, const Family& family)
      : fields(metadata, ""), prefix_(std::string(family.gguf_name) + '.') {}

  std::string key(std::string_view name) const {
    return prefix_ + std::string(name);
  }
  std::optional<std::int64_t> integer(std::string_view name, IntRange range) {
    return fields.integer(key(name), range);
  }
  std::optional<double> number(std::string_view name, NumberRange range) {
    return fields.number(key(name), range);
  }
  int size(std::string_view name, std::int64_t most) {
    return static_cast<int>(fields.needed_integer(key(name), {1, most}));
  }

  /// A number for each layer: the file has one for all, or a list.
  std::optional<std::vector<int>> per_layer(
      std::string_view name,
      IntRange range,
      std::size_t layers) {
    const Json* value = fields.find(key(name));
    if (!value) {
      return std::nullopt;
    }
    if (!value->is_array()) {
      const auto number = fields.integer(key(name), range);
      return std::vector<int>(layers, static_cast<int>(*number));
    }
    const auto listed =
        fields.integers(key(name), range, static_cast<std::size_t>(kMaxLayers));
    if (listed->size() != layers) {
      fields.refuse(
          key(name),
          fmt::format(
              "There must be one number for each of {} layers",
              layers));
    }
    return std::vector<int>(listed->begin(), listed->end());
  }

  const std::string& prefix() const { return prefix_; }

  Fields fields;

 private:
  std::string prefix_;
};

struct Shape {
  int dim = 0;
  std::vector<int> hidden;
  std::vector<int> heads;
  std::vector<int> kv_heads;
  int head_dim = 0;
  std::int64_t context = 0;
};

int read_head_dim(Keys& keys, const Shape& shape) {
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

Shape read_shape(Keys& keys, const Family& family) {
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

void check_factors(
    const std::optional<std::vector<float>>& factors,
    std::string_view name,
    int dims) {
  if (!factors) {
    return;
  }
  const auto wanted = static_cast<std::size_t>((dims + 1) / 2);
  const bool sound = std::all_of(factors->begin(), factors->end(), [](float f) {
    return f > 1e-6f && f < 1e9f;
  });
  if (factors->size() != wanted || !sound) {
    fail<CheckpointError>(
        fmt::format("{} has {} numbers", name, factors->size()),
        fmt::format(
            "There must be {}, one for each rotated pair, all above zero",
            wanted),
        "Check that the file is whole");
  }
}

RopeScaling read_scaling(Keys& keys, double factor) {
  const auto type = keys.fields.text(keys.key("rope.scaling.type"));
  if (!type) {
    // A factor without a kind is linear, as in the first of these files.
    return factor > 0.0 ? RopeScaling::linear : RopeScaling::none;
  }
  if (*type == "none") {
    return RopeScaling::none;
  }
  if (*type == "linear") {
    return RopeScaling::linear;
  }
  if (*type == "yarn") {
    return RopeScaling::yarn;
  }
  if (*type == "longrope" || *type == "su") {
    return RopeScaling::longrope;
  }
  fail<UnsupportedError>(
      fmt::format("{} is {}", keys.key("rope.scaling.type"), shown(*type)),
      "The kinds of scaling known are none, linear, yarn, longrope",
      "");
}

/// yarn's magnitude as llama.cpp has it: that of the paper, or the ratio that
/// yarn_log_multiplier asks for, times attn_factor.
double yarn_magnitude(Keys& keys, double factor, double attention_factor) {
  const auto mscale = [&](double weight) {
    return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
  };
  const double log_weight =
      keys.number("rope.scaling.yarn_log_multiplier", kFactor).value_or(0.0);
  const double ratio = log_weight == 0.0 ? 1.0 : mscale(log_weight);
  return attention_factor * mscale(1.0) / ratio;
}

int read_rotated_dims(Keys& keys, int head_dim) {
  const auto dims = keys.integer("rope.dimension_count", {2, kMaxHeadDim});
  const auto rotated = static_cast<int>(dims.value_or(head_dim));
  if (rotated > head_dim || rotated % 2 != 0) {
    fail<CheckpointError>(
        fmt::format("{} is {}", keys.key("rope.dimension_count"), rotated),
        fmt::format("It must be even and at most {}", head_dim),
        "Check that the file is whole");
  }
  return rotated;
}

void read_yarn(Keys& keys, RopeRecipe& recipe, double attention_factor) {
  const NumberRange turns{1e-6, 1e6};
  recipe.beta_fast =
      keys.number("rope.scaling.yarn_beta_fast", turns).value_or(32.0);
  recipe.beta_slow =
      keys.number("rope.scaling.yarn_beta_slow", turns).value_or(1.0);
  const auto extrapolation =
      keys.number("rope.scaling.yarn_ext_factor", kMultiplier);
  if (extrapolation && *extrapolation >= 0.0 && *extrapolation != 1.0) {
    fail<UnsupportedError>(
        fmt::format(
            "{} is {}",
            keys.key("rope.scaling.yarn_ext_factor"),
            *extrapolation),
        "Only full extrapolation, 1, is known",
        "");
  }
  recipe.attention_factor =
      yarn_magnitude(keys, recipe.factor, attention_factor);
}

RopeRecipe read_recipe(
    Keys& keys,
    const Family& family,
    const Shape& shape,
    const GgufRopeFactors& tensors) {
  RopeRecipe recipe;
  recipe.layout = family.gguf_rope_layout;
  recipe.theta = keys.number("rope.freq_base", kTheta).value_or(10000.0);
  recipe.dims = read_rotated_dims(keys, shape.head_dim);
  check_factors(tensors.factors, "rope_freqs", recipe.dims);
  check_factors(tensors.long_factors, "rope_factors_long", recipe.dims);
  check_factors(tensors.short_factors, "rope_factors_short", recipe.dims);
  recipe.divisors = tensors.factors.value_or(std::vector<float>{});
  double factor = keys.number("rope.scaling.factor", kFactor).value_or(0.0);
  if (factor == 0.0) {
    factor = keys.number("rope.scale_linear", kFactor).value_or(0.0);
  }
  recipe.scaling = read_scaling(keys, factor);
  recipe.factor = factor == 0.0 ? 1.0 : factor;
  recipe.original_context = static_cast<double>(
      keys.integer("rope.scaling.original_context_length", {2, kMaxContext})
          .value_or(std::max<std::int64_t>(shape.context, 2)));
  const auto magnitude = keys.number("rope.scaling.attn_factor", kFactor);
  recipe.attention_factor = magnitude;
  if (recipe.scaling == RopeScaling::yarn) {
    read_yarn(keys, recipe, magnitude.value_or(1.0));
  }
  // Phi's files name no kind: the two tensors tell.
  if (tensors.long_factors && tensors.short_factors) {
    recipe.scaling = RopeScaling::longrope;
    recipe.long_factors = *tensors.long_factors;
    recipe.short_factors = *tensors.short_factors;
    recipe.factor =
        static_cast<double>(shape.context) / recipe.original_context;
  } else if (recipe.scaling == RopeScaling::longrope) {
    fail<CheckpointError>(
        fmt::format("{} is longrope", keys.key("rope.scaling.type")),
        "The tensors rope_factors_long and rope_factors_short are missing",
        "Check that the file is whole");
  }
  return recipe;
}

/// Sliding layers with a base of their own are not scaled.
RopeRecipe local_recipe(
    Keys& keys,
    const Family& family,
    const RopeRecipe& global) {
  const auto theta = keys.number("rope.freq_base_swa", kTheta);
  RopeRecipe local = global;
  if (family.local_rope_theta) {
    local.scaling = RopeScaling::none;
    local.divisors.clear();
    local.theta = *family.local_rope_theta;
  }
  local.theta = theta.value_or(local.theta);
  return local;
}

/// Which layers have a window: a list, or all but every so many-th.
std::vector<bool> read_windowed(
    Keys& keys,
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
    Keys& keys,
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

float read_scale(Keys& keys, const Family& family, const Shape& shape) {
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
    Keys& keys,
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

LayerSpec read_layer(Keys& keys, const Family& family, const Shape& shape) {
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
  AttentionSpec& attention = layer.attention;
  attention.head_dim = shape.head_dim;
  attention.qk_norm = family.qk_norm;
  attention.qkv_bias = family.bias == BiasRule::qkv_always;
  attention.scale = read_scale(keys, family, shape);
  attention.softcap = read_softcap(
      keys,
      "attn_logit_softcapping",
      family.attention_softcap_field,
      family.attention_softcap);
  layer.feed_forward.activation = family.activation;
  return layer;
}

void read_layers(
    Keys& keys,
    const Family& family,
    const Shape& shape,
    const GgufRopeFactors& tensors,
    ModelSpec& spec) {
  const LayerSpec layer = read_layer(keys, family, shape);
  const std::size_t layers = shape.heads.size();
  const auto windows = read_windows(keys, family, layers);
  const RopeRecipe global = read_recipe(keys, family, shape, tensors);
  const RopeSpec full = make_rope(global);
  const RopeSpec sliding = make_rope(local_recipe(keys, family, global));
  // Granite's files without positions say so with this key.
  const bool roped =
      keys.fields.flag(keys.key("rope.scaling.finetuned")).value_or(true) ||
      !family.multipliers;
  spec.final_norm = layer.norm;
  spec.layers.assign(layers, layer);
  for (std::size_t i = 0; i < layers; ++i) {
    LayerSpec& own = spec.layers[i];
    own.attention.heads = shape.heads[i];
    own.attention.kv_heads = shape.kv_heads[i];
    own.feed_forward.hidden = shape.hidden[i];
    own.attention.window_tokens = windows[i];
    const bool skipped =
        family.no_rope_interval != 0 &&
        (i + 1) % static_cast<std::size_t>(family.no_rope_interval) == 0;
    if (roped && !skipped) {
      own.attention.rope = windows[i] ? sliding : full;
    }
  }
}

void read_scales(Keys& keys, const Family& family, ModelSpec& spec) {
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

void read_vocabulary(Keys& keys, ModelSpec& spec) {
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

void refuse_unknown_keys(Keys& keys) {
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
  Keys keys(metadata, family);
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
