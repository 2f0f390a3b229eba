#include "roofline/spec/read_gguf_recurrent.h"

#include <fmt/format.h>

#include "roofline/spec/read_recurrent.h"

namespace roofline {

namespace {

int read_size(
    GgufKeys& keys,
    std::string_view name,
    IntRange range,
    int other) {
  return static_cast<int>(keys.integer(name, range).value_or(other));
}

RecurrentSpec read_spec(
    GgufKeys& keys,
    const RecurrentRule& rule,
    const ModelSpec& model) {
  RecurrentSpec r;
  r.kind = rule.kind;
  if (rule.kind == RecurrentKind::short_conv) {
    r.conv_width = keys.size("shortconv.l_cache", 64);
    r.conv_channels = model.dim;
    return r;
  }
  r.conv_width = keys.size("ssm.conv_kernel", 64);
  r.state_dim = keys.size("ssm.state_size", kMaxHeadDim);
  r.heads = keys.size("ssm.time_step_rank", 1 << 16);
  r.key_heads = read_size(keys, "ssm.group_count", {1, 1 << 16}, 1);
  const int inner = keys.size("ssm.inner_size", kMaxDim);
  const std::int64_t channels =
      inner + 2 * std::int64_t{r.key_heads} * r.state_dim;
  if (inner % r.heads != 0 || inner / r.heads > kMaxHeadDim ||
      r.heads % r.key_heads != 0 || channels > kMaxDim) {
    keys.fields.refuse(
        keys.key("ssm.inner_size"),
        fmt::format(
            "It doesn't go with {} heads in {} groups",
            r.heads,
            r.key_heads));
  }
  r.head_dim = inner / r.heads;
  r.conv_channels = static_cast<int>(channels);
  r.log_decay = false;
  r.step_min = rule.step_min_absent;
  r.output_norm_by_group = rule.kind == RecurrentKind::mamba2;
  r.gate_before_norm = rule.kind == RecurrentKind::mamba2;
  r.key_heads_tiled = rule.gguf_tiled;
  return r;
}

/// What tells the layers apart where each has a mixer: which are recurrent as
/// newer files list them, or every which one isn't.
struct Mixers {
  std::optional<std::vector<bool>> recurrent;
  int interval = 0;
};

LayerPart part_of(
    const RecurrentRule& rule,
    const Mixers& mixers,
    std::size_t layer,
    int kv_heads,
    int hidden) {
  switch (rule.layers) {
    case MixerLayers::all_recurrent:
    case MixerLayers::side_by_side:
      return LayerPart::recurrence;
    case MixerLayers::one_part:
      return kv_heads > 0 ? LayerPart::attention
             : hidden > 0 ? LayerPart::feed_forward
                          : LayerPart::recurrence;
    case MixerLayers::listed:
      break;
  }
  const auto interval = static_cast<std::size_t>(mixers.interval);
  const bool attends = mixers.recurrent ? !(*mixers.recurrent)[layer]
                       : interval > 0   ? (layer + 1) % interval == 0
                                        : kv_heads > 0;
  return attends ? LayerPart::attention : LayerPart::recurrence;
}

}  // namespace

void read_gguf_recurrent(
    GgufKeys& keys,
    const Family& family,
    const std::vector<LayerSpec>& whole,
    ModelSpec& spec) {
  if (!family.recurrent) {
    return;
  }
  const RecurrentRule& rule = *family.recurrent;
  const RecurrentSpec recurrent = read_spec(keys, rule, spec);
  const Mixers mixers = {
      keys.flags("attention.recurrent_layers", spec.layers.size()),
      read_size(
          keys,
          "full_attention_interval",
          {1, kMaxLayers},
          rule.attention_interval)};
  // Where the axes of images' positions begin: text has one.
  keys.fields.find(keys.key("rope.dimension_sections"));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    LayerSpec& layer = spec.layers[i];
    layer.attention->output_gate = rule.gated_attention;
    const auto part = part_of(
        rule,
        mixers,
        i,
        whole[i].attention->kv_heads,
        whole[i].feed_forward->hidden);
    arrange_parts(layer, rule, recurrent, part);
  }
}

}  // namespace roofline
