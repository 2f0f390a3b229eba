#include "roofline/spec/read_recurrent.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/layer_parts.h"
#include "roofline/spec/read_layers.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr IntRange kHeads{1, 1 << 16};
constexpr IntRange kHeadDims{1, kMaxHeadDim};
constexpr NumberRange kStep{0.0, std::numeric_limits<double>::max()};

int read_size(Fields& config, const SizeField& field, IntRange range) {
  std::optional<std::int64_t> other;
  if (!field.other_name.empty()) {
    other = config.integer(field.other_name, range);
  }
  const auto value = other ? other : config.integer(field.name, range);
  if (!value && field.absent == 0) {
    return static_cast<int>(config.needed_integer(field.name, range));
  }
  return static_cast<int>(value.value_or(field.absent));
}

bool read_switch(Fields& config, const SwitchField& field) {
  std::optional<bool> other;
  if (!field.other_name.empty()) {
    other = config.flag(field.other_name);
  }
  if (other || field.name.empty()) {
    return other.value_or(field.absent);
  }
  return config.flag(field.name).value_or(field.absent);
}

/// A number of a list, or the infinity that JSON has no number for.
float read_bound(Fields& config, std::string_view field, const Json& value) {
  const bool infinite = value.is_object() && value.size() == 1 &&
                        value.value("__float__", Json()) == "Infinity";
  if (infinite) {
    return std::numeric_limits<float>::infinity();
  }
  if (!value.is_number() || value < kStep.low || value > kStep.high) {
    config.refuse(field, "It must be two numbers from 0 on");
  }
  return value.get<float>();
}

void read_step_bounds(
    Fields& config,
    const RecurrentRule& rule,
    RecurrentSpec& r) {
  if (!rule.step_min.empty()) {
    const auto other = config.number(rule.other_step_min, kStep);
    const auto given = config.number(rule.step_min, kStep);
    r.step_min = static_cast<float>(
        other.value_or(given.value_or(rule.step_min_absent)));
    return;
  }
  const Json* limits = config.find(rule.step_limits);
  if (!limits) {
    return;
  }
  if (!limits->is_array() || limits->size() != 2) {
    config.refuse(rule.step_limits, "It must be two numbers from 0 on");
  }
  r.step_min = read_bound(config, rule.step_limits, (*limits)[0]);
  r.step_max = read_bound(config, rule.step_limits, (*limits)[1]);
  if (r.step_min > r.step_max) {
    config.refuse(rule.step_limits, "The lower one must come first");
  }
}

/// heads · head_dim as the config says it; 0: it doesn't.
std::int64_t inner_dims(Fields& config, const RecurrentRule& rule, int dim) {
  const std::string_view field = rule.inner_field;
  if (!field.empty()) {
    // null leaves it to the factor.
    const bool absent = !config.object().contains(field);
    const auto given = config.integer(field, kDims);
    config.find(rule.expand.name);
    if (given || absent) {
      return given.value_or(1024);
    }
  }
  if (rule.expand.name.empty()) {
    return 0;
  }
  return std::int64_t{read_size(config, rule.expand, {1, 64})} * dim;
}

void read_heads(
    Fields& config,
    const RecurrentRule& rule,
    int dim,
    RecurrentSpec& r) {
  r.heads = read_size(config, rule.heads, kHeads);
  const std::int64_t inner = inner_dims(config, rule, dim);
  const Json* given = config.find(rule.head_dim.name);
  const bool derived =
      inner > 0 && rule.head_dim.absent == 0 && (!given || *given == "auto");
  r.head_dim = derived
                   ? static_cast<int>(
                         std::min<std::int64_t>(inner / r.heads, kMaxHeadDim))
                   : read_size(config, rule.head_dim, kHeadDims);
  const std::int64_t whole = std::int64_t{r.heads} * r.head_dim;
  if (whole == 0 || whole > kMaxDim ||
      (rule.inner_is_checked && inner > 0 && whole != inner)) {
    config.refuse(
        rule.heads.name,
        fmt::format(
            "Heads of {} dims give {}, but the layer is {} wide",
            r.head_dim,
            whole,
            inner));
  }
}

void read_groups(Fields& config, const RecurrentRule& rule, RecurrentSpec& r) {
  r.key_heads = read_size(config, rule.groups, kHeads);
  r.state_dim = read_size(config, rule.state_dim, kHeadDims);
  if (r.heads % r.key_heads != 0) {
    config.refuse(
        rule.groups.name,
        fmt::format("It must divide the {} heads evenly", r.heads));
  }
  const std::int64_t shared = 2 * std::int64_t{r.key_heads} * r.state_dim;
  const std::int64_t channels = std::int64_t{r.heads} * r.head_dim + shared;
  if (channels > kMaxDim) {
    config.refuse(rule.state_dim.name, "Times its groups it is too much");
  }
  r.conv_channels = static_cast<int>(channels);
}

/// Five factors: on z, x, B, C and the steps.
std::vector<float> read_part_scales(Fields& config) {
  const auto given = config.numbers("ssm_multipliers", kMultiplier, 5);
  if (!given) {
    return {};
  }
  if (given->size() != 5) {
    config.refuse("ssm_multipliers", "There must be five");
  }
  const bool any = std::any_of(given->begin(), given->end(), [](double each) {
    return each != 1.0;
  });
  return any ? std::vector<float>(given->begin(), given->end())
             : std::vector<float>();
}

float multiplier(Fields& config, std::string_view name) {
  return static_cast<float>(config.number(name, kMultiplier).value_or(1.0));
}

RecurrentSpec read_spec(Fields& config, const Family& family, int dim) {
  const RecurrentRule& rule = *family.recurrent;
  RecurrentSpec r;
  r.kind = rule.kind;
  r.conv_width = read_size(config, rule.conv_width, {1, 64});
  if (r.conv_width == 1 && r.kind == RecurrentKind::gated_delta) {
    fail<UnsupportedError>(
        fmt::format("{} is 1", config.label(rule.conv_width.name)),
        "A convolution of one token looks alike in Hugging Face's and MLX's "
        "layout, whose norms differ",
        "");
  }
  r.conv_bias = read_switch(config, rule.conv_bias);
  r.input_bias = read_switch(config, rule.input_bias);
  r.output_bias = read_switch(config, rule.output_bias);
  if (rule.kind == RecurrentKind::short_conv) {
    r.conv_channels = dim;
    return r;
  }
  r.conv_activation =
      read_activation(config, family, rule.activation_field, Activation::silu);
  read_heads(config, rule, dim, r);
  read_groups(config, rule, r);
  r.rows_by_key_head = rule.rows_by_key_head;
  if (rule.kind == RecurrentKind::gated_delta) {
    r.gate_before_norm = false;
    return r;
  }
  r.output_norm = !rule.output_norm || read_switch(config, *rule.output_norm);
  r.output_norm_by_group = true;
  r.gate_before_norm =
      !rule.norm_before_gate || !read_switch(config, *rule.norm_before_gate);
  if (r.output_norm && r.heads * r.head_dim % r.key_heads != 0) {
    config.refuse(rule.groups.name, "It must divide the layer's width evenly");
  }
  read_step_bounds(config, rule, r);
  if (rule.part_multipliers) {
    r.part_scales = read_part_scales(config);
    r.input_scale = multiplier(config, "ssm_in_multiplier");
    r.output_scale = multiplier(config, "ssm_out_multiplier");
  }
  return r;
}

void read_part_multipliers(Fields& config, ModelSpec& spec) {
  const auto mlp = config.numbers("mlp_multipliers", kMultiplier, 2);
  if (mlp && mlp->size() != 2) {
    config.refuse("mlp_multipliers", "There must be two");
  }
  spec.embedding_scale = multiplier(config, "embedding_multiplier");
  spec.logit_scale = multiplier(config, "lm_head_multiplier");
  const float in = multiplier(config, "attention_in_multiplier");
  const float out = multiplier(config, "attention_out_multiplier");
  const float key = multiplier(config, "key_multiplier");
  for (LayerSpec& layer : spec.layers) {
    layer.attention_input_scale = in;
    layer.attention_output_scale = out;
    layer.attention->key_scale = key;
    if (mlp) {
      layer.feed_forward->gate_scale = static_cast<float>((*mlp)[0]);
      layer.feed_forward->output_scale = static_cast<float>((*mlp)[1]);
    }
  }
}

/// Two thirds of the width, times a factor, up to a whole multiple.
int adjusted_hidden(Fields& config, int given) {
  const int hidden =
      static_cast<int>(config.integer("block_ff_dim", kDims).value_or(given));
  const bool adjusts = config.flag("block_auto_adjust_ff_dim").value_or(true);
  const auto multiple = static_cast<int>(
      config.integer("block_multiple_of", {1, 1 << 16}).value_or(256));
  const bool null = config.object().contains("block_ffn_dim_multiplier") &&
                    !config.find("block_ffn_dim_multiplier");
  const double factor =
      config.number("block_ffn_dim_multiplier", {1e-3, 1e3}).value_or(1.0);
  if (!adjusts) {
    return hidden;
  }
  const int cut = static_cast<int>(2.0 * hidden / 3.0);
  if (null) {
    return std::max(1, cut);
  }
  const double wide = factor * cut;
  if (wide + multiple > kMaxDim) {
    config.refuse("block_ffn_dim_multiplier", "It makes the layer too wide");
  }
  const int whole = static_cast<int>(wide);
  return std::max(multiple, (whole + multiple - 1) / multiple * multiple);
}

}  // namespace

void arrange_parts(
    LayerSpec& layer,
    const RecurrentRule& rule,
    const RecurrentSpec& recurrent,
    LayerPart part) {
  const bool beside = rule.layers == MixerLayers::side_by_side;
  if (part == LayerPart::recurrence) {
    layer.recurrent = recurrent;
  }
  if (part != LayerPart::attention && !beside) {
    layer.attention.reset();
  }
  const bool feeds =
      part == LayerPart::feed_forward || part == LayerPart::mixture;
  if (rule.layers == MixerLayers::all_recurrent ||
      (rule.layers == MixerLayers::one_part && !feeds)) {
    layer.feed_forward.reset();
  }
}

namespace {

std::vector<LayerPart> parts_of(
    Fields& config,
    const RecurrentRule& rule,
    std::size_t layers) {
  if (rule.layers == MixerLayers::all_recurrent ||
      rule.layers == MixerLayers::side_by_side) {
    return std::vector<LayerPart>(layers, LayerPart::recurrence);
  }
  auto parts = read_parts(config, rule, layers);
  for (const LayerPart part : parts) {
    if (rule.layers != MixerLayers::one_part && part != LayerPart::attention &&
        part != LayerPart::recurrence) {
      config.refuse("layer_types", "Each layer of this family has a mixer");
    }
  }
  return parts;
}

}  // namespace

int count_listed_layers(Fields& config, const RecurrentRule& rule) {
  if (rule.layers != MixerLayers::one_part) {
    return 0;
  }
  const auto listed = listed_parts(config);
  return listed ? static_cast<int>(listed->size()) : 0;
}

std::vector<bool> listed_mixtures(
    Fields& config,
    const RecurrentRule& rule,
    std::size_t layers) {
  std::vector<bool> out;
  for (const LayerPart part : parts_of(config, rule, layers)) {
    out.push_back(part == LayerPart::mixture);
  }
  return out;
}

void read_recurrent(
    Fields& config,
    const Family& family,
    const Sizes& sizes,
    ModelSpec& spec) {
  if (!family.recurrent) {
    return;
  }
  const RecurrentRule& rule = *family.recurrent;
  const auto parts = parts_of(config, rule, spec.layers.size());
  const RecurrentSpec recurrent = read_spec(config, family, sizes.dim);
  if (rule.part_multipliers) {
    read_part_multipliers(config, spec);
  }
  const int hidden =
      rule.adjusted_hidden ? adjusted_hidden(config, sizes.hidden) : 0;
  const bool rotates =
      !rule.rope_by_type ||
      config.text("position_embedding_type").value_or("") == "rope";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    LayerSpec& layer = spec.layers[i];
    if (rule.adjusted_hidden) {
      layer.feed_forward->hidden = hidden;
    }
    if (!rotates) {
      layer.attention->rope.reset();
    }
    layer.attention->output_gate = rule.gated_attention;
    arrange_parts(layer, rule, recurrent, parts[i]);
  }
}

}  // namespace roofline
