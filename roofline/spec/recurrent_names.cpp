#include "roofline/spec/recurrent_names.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "roofline/spec/families.h"

namespace roofline {

namespace {

struct RecurrentRow {
  std::string_view name;
  std::string_view target;
};

// Behind one of kParts.
constexpr std::array kRecurrentHf = {
    RecurrentRow{"conv1d", "conv"},
    RecurrentRow{"conv", "conv"},
    RecurrentRow{"in_proj", "in"},
    RecurrentRow{"in_proj_qkvz", "in"},
    RecurrentRow{"in_proj_qkv", "in"},
    RecurrentRow{"in_proj_z", "in_gate"},
    RecurrentRow{"in_proj_ba", "in_gates"},
    RecurrentRow{"in_proj_b", "in_rate"},
    RecurrentRow{"in_proj_a", "in_step"},
    RecurrentRow{"out_proj", "out"},
    RecurrentRow{"A_log", "decay"},
    RecurrentRow{"D", "skip"},
    RecurrentRow{"dt_bias", "step.bias"},
    RecurrentRow{"norm", "norm"},
};

constexpr std::array<std::string_view, 4> kParts = {
    "mixer.",
    "mamba.",
    "linear_attn.",
    "conv."};

// Beside recurrent layers: the only part of a layer has a neutral name there.
constexpr std::array kRecurrentHfLayer = {
    RecurrentRow{"operator_norm", "attention_norm"},
    RecurrentRow{"ffn_norm", "feed_forward_norm"},
    RecurrentRow{"pre_ff_layernorm", "feed_forward_norm"},
    RecurrentRow{"self_attn.q_layernorm", "attention.q_norm"},
    RecurrentRow{"self_attn.k_layernorm", "attention.k_norm"},
    RecurrentRow{"self_attn.out_proj", "attention.o"},
    RecurrentRow{"mixer.q_proj", "attention.q"},
    RecurrentRow{"mixer.k_proj", "attention.k"},
    RecurrentRow{"mixer.v_proj", "attention.v"},
    RecurrentRow{"mixer.o_proj", "attention.o"},
    RecurrentRow{"mixer.up_proj", "feed_forward.up"},
    RecurrentRow{"mixer.down_proj", "feed_forward.down"},
    RecurrentRow{"feed_forward.gate_proj", "feed_forward.gate"},
    RecurrentRow{"feed_forward.up_proj", "feed_forward.up"},
    RecurrentRow{"feed_forward.down_proj", "feed_forward.down"},
    RecurrentRow{"feed_forward.w1", "feed_forward.gate"},
    RecurrentRow{"feed_forward.w3", "feed_forward.up"},
    RecurrentRow{"feed_forward.w2", "feed_forward.down"},
    RecurrentRow{"shared_mlp.output_linear", "feed_forward.down"},
};

// Of several names for one tensor, the first is that of today's files.
constexpr std::array kGgufMamba2 = {
    RecurrentRow{"ssm_in", "in"},
    RecurrentRow{"ssm_conv1d", "conv"},
    RecurrentRow{"ssm_dt", "step"},
    RecurrentRow{"ssm_a", "decay"},
    RecurrentRow{"ssm_d", "skip"},
    RecurrentRow{"ssm_norm", "norm"},
    RecurrentRow{"ssm_out", "out"},
};

constexpr std::array kGgufGatedDelta = {
    RecurrentRow{"attn_qkv", "in"},
    RecurrentRow{"attn_gate", "in_gate"},
    RecurrentRow{"ssm_ba", "in_gates"},
    RecurrentRow{"ssm_beta", "in_rate"},
    RecurrentRow{"ssm_alpha", "in_step"},
    RecurrentRow{"ssm_conv1d", "conv"},
    RecurrentRow{"ssm_dt", "step"},
    RecurrentRow{"ssm_a", "decay"},
    RecurrentRow{"ssm_norm", "norm"},
    RecurrentRow{"ssm_out", "out"},
    RecurrentRow{"ssm_in", "in"},
};

constexpr std::array kGgufShortConv = {
    RecurrentRow{"shortconv.conv", "conv"},
    RecurrentRow{"shortconv.in_proj", "in"},
    RecurrentRow{"shortconv.out_proj", "out"},
};

std::span<const RecurrentRow> gguf_rows(RecurrentKind kind) {
  switch (kind) {
    case RecurrentKind::gated_delta:
      return kGgufGatedDelta;
    case RecurrentKind::mamba2:
      return kGgufMamba2;
    case RecurrentKind::short_conv:
      break;
  }
  return kGgufShortConv;
}

const RecurrentRow* find_in(
    std::span<const RecurrentRow> rows,
    std::string_view name) {
  for (const RecurrentRow& row : rows) {
    if (row.name == name) {
      return &row;
    }
  }
  return nullptr;
}

std::vector<NamedRows> named(std::string name) {
  NamedRows out;
  out.name = std::move(name);
  return {out};
}

/// A name that stands for a tensor of the recurrence.
std::optional<std::vector<NamedRows>> recurrent(const RecurrentRow* row) {
  if (!row) {
    return std::nullopt;
  }
  return named("recurrent." + std::string(row->target));
}

std::optional<std::vector<NamedRows>> find_hf(
    std::string_view rest,
    const LayerSpec& layer) {
  for (std::string_view part : kParts) {
    if (!layer.recurrent || !rest.starts_with(part)) {
      continue;
    }
    if (auto found =
            recurrent(find_in(kRecurrentHf, rest.substr(part.size())))) {
      return found;
    }
  }
  if (rest == "shared_mlp.input_linear" && layer.feed_forward) {
    const std::int64_t hidden = layer.feed_forward->hidden;
    return std::vector<NamedRows>{
        {"feed_forward.gate", 0, hidden},
        {"feed_forward.up", hidden, hidden}};
  }
  const RecurrentRow* row = find_in(kRecurrentHfLayer, rest);
  return row ? std::optional(named(std::string(row->target))) : std::nullopt;
}

}  // namespace

bool has_recurrent_names(const ModelSpec& spec) {
  const Family* family = find_family(spec.family);
  if (family && family->recurrent) {
    return true;
  }
  return std::any_of(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.recurrent.has_value(); });
}

std::optional<std::vector<NamedRows>> map_recurrent_name(
    std::string_view rest,
    NameStyle style,
    const LayerSpec& layer) {
  const bool only_fed = !layer.attention && !layer.recurrent;
  const std::string norm = only_fed ? "feed_forward_norm" : "attention_norm";
  if (style == NameStyle::hugging_face) {
    return rest == "norm" ? named(norm) : find_hf(rest, layer);
  }
  if (rest == "attn_norm" && only_fed) {
    return named(norm);
  }
  if (rest == "post_attention_norm") {
    return named("feed_forward_norm");
  }
  return layer.recurrent
             ? recurrent(find_in(gguf_rows(layer.recurrent->kind), rest))
             : std::nullopt;
}

std::string_view hf_recurrent_name(
    std::string_view ours,
    RecurrentKind kind,
    bool by_key_head) {
  const bool delta = kind == RecurrentKind::gated_delta;
  if (ours == "step") {
    return "dt_bias";
  }
  if (ours == "in") {
    return !delta ? "in_proj" : by_key_head ? "in_proj_qkvz" : "in_proj_qkv";
  }
  if (ours == "conv") {
    return kind == RecurrentKind::short_conv ? "conv" : "conv1d";
  }
  const auto found = std::find_if(
      kRecurrentHf.begin(),
      kRecurrentHf.end(),
      [&](const RecurrentRow& row) { return row.target == ours; });
  return found == kRecurrentHf.end() ? "" : found->name;
}

std::string_view gguf_recurrent_name(
    std::string_view ours,
    RecurrentKind kind) {
  const auto rows = gguf_rows(kind);
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const RecurrentRow& r) {
        return r.target == ours;
      });
  return found == rows.end() ? "" : found->name;
}

}  // namespace roofline
