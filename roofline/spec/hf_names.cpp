#include "roofline/spec/hf_names.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/families.h"
#include "roofline/spec/recurrent_names.h"
#include "roofline/spec/tensor_name_rows.h"

namespace roofline {

namespace {

constexpr std::string_view kRecurrent = "recurrent.";
constexpr std::string_view kStreams = "streams.";
constexpr std::array<std::string_view, 3> kQkv = {
    "attention.q",
    "attention.k",
    "attention.v"};
constexpr std::array<std::string_view, 3> kGateUp = {
    "feed_forward.gate",
    "feed_forward.up",
    ""};
constexpr std::array<std::string_view, 3> kSharedGateUp = {
    "feed_forward.shared.gate",
    "feed_forward.shared.up",
    ""};

constexpr std::array kPacked = {
    HfPacked{"glm", kGateUp, "mlp.gate_up_proj"},
    HfPacked{"glm4", kGateUp, "mlp.gate_up_proj"},
    HfPacked{"gpt2", kQkv, "attn.c_attn"},
    HfPacked{"gpt_neox", kQkv, "attention.query_key_value", true},
    HfPacked{"granitemoehybrid", kGateUp, "shared_mlp.input_linear"},
    HfPacked{"granitemoehybrid", kSharedGateUp, "shared_mlp.input_linear"},
    HfPacked{"phi3", kQkv, "self_attn.qkv_proj"},
    HfPacked{"phi3", kGateUp, "mlp.gate_up_proj"},
};

// Neither weights nor biases there.
constexpr std::array<std::string_view, 8> kHfBare = {
    "A_log",
    "D",
    "altup.correct_output_scale",
    "dt_bias",
    "layer_scalar",
    "router.per_expert_scale",
    "router.scale",
    "self_attn.sinks"};

struct Name {
  std::string_view ours, theirs;
};

constexpr std::array kFalcon = {
    Name{"feed_forward_norm", "pre_ff_layernorm"},
    Name{"feed_forward.gate", "feed_forward.gate_proj"},
    Name{"feed_forward.up", "feed_forward.up_proj"},
    Name{"feed_forward.down", "feed_forward.down_proj"},
};
constexpr std::array kFalconModel = {
    Name{"final_norm", "final_layernorm"},
};
constexpr std::array kGemma4 = {
    Name{"feed_forward.router", "router.proj"},
    Name{"feed_forward.router.input_scale", "router.scale"},
    Name{"feed_forward.router.expert_scale", "router.per_expert_scale"},
    Name{"feed_forward.dense_post_norm", "post_feedforward_layernorm_1"},
    Name{"feed_forward.mixture_norm", "pre_feedforward_layernorm_2"},
    Name{"feed_forward.mixture_post_norm", "post_feedforward_layernorm_2"},
};
constexpr std::array kGraniteHybridLayer = {
    Name{"feed_forward.down", "shared_mlp.output_linear"},
    Name{"feed_forward.shared.down", "shared_mlp.output_linear"},
};
constexpr std::array kLfm2Layer = {
    Name{"attention_norm", "operator_norm"},
    Name{"feed_forward_norm", "ffn_norm"},
    Name{"attention.q_norm", "self_attn.q_layernorm"},
    Name{"attention.k_norm", "self_attn.k_layernorm"},
    Name{"attention.o", "self_attn.out_proj"},
    Name{"feed_forward.gate", "feed_forward.w1"},
    Name{"feed_forward.up", "feed_forward.w3"},
    Name{"feed_forward.down", "feed_forward.w2"},
};
constexpr std::array kLfm2Model = {
    Name{"final_norm", "embedding_norm"},
};
constexpr std::array kMixer = {
    Name{"attention_norm", "norm"},
    Name{"feed_forward_norm", "norm"},
    Name{"attention.q", "mixer.q_proj"},
    Name{"attention.k", "mixer.k_proj"},
    Name{"attention.v", "mixer.v_proj"},
    Name{"attention.o", "mixer.o_proj"},
    Name{"feed_forward.up", "mixer.up_proj"},
    Name{"feed_forward.down", "mixer.down_proj"},
};
constexpr std::array kMixerModel = {
    Name{"embed", "embeddings"},
    Name{"final_norm", "norm_f"},
};

/// Where names aren't those that most families' readers take first.
struct Spelling {
  std::string_view family;
  std::string_view recurrent = {};  ///< before what is a recurrence's
  std::span<const Name> layer = {}, model = {};
  std::string_view prefix = "model.";
  std::string_view layers = "layers.";
};

constexpr std::array kSpellings = {
    Spelling{"falcon_h1", "mamba.", kFalcon, kFalconModel},
    Spelling{"gemma4_text", "", kGemma4},
    Spelling{"gpt2", "", {}, {}, "model.", "h."},
    Spelling{"gpt_neox", "", {}, {}, "model.", "h."},
    Spelling{"granitemoehybrid", "mamba.", kGraniteHybridLayer},
    Spelling{"lfm2", "conv.", kLfm2Layer, kLfm2Model},
    Spelling{"lfm2_moe", "conv.", kLfm2Layer, kLfm2Model},
    Spelling{"mamba2", "mixer.", kMixer, kMixerModel, "backbone."},
    Spelling{"nemotron_h", "mixer.", kMixer, kMixerModel, "backbone."},
    Spelling{"qwen3_5_moe_text", "linear_attn."},
    Spelling{"qwen3_5_text", "linear_attn."},
    Spelling{"qwen3_next", "linear_attn."},
};

/// Of several names for one tensor, the first row's is the usual one.
void take(
    std::map<std::string_view, std::string_view>& names,
    std::span<const NameRow> rows) {
  for (const NameRow& row : rows) {
    switch (row.action) {
      case NameAction::rename:
      case NameAction::turned:
      case NameAction::query_head:
      case NameAction::key_head:
      case NameAction::numbered:
        names.emplace(row.target, row.pattern);
        break;
      default:
        break;
    }
  }
}

std::string_view at(
    const std::map<std::string_view, std::string_view>& names,
    std::string_view ours) {
  const auto found = names.find(ours);
  return found == names.end() ? std::string_view() : found->second;
}

std::string with_ending(std::string_view name, bool bias) {
  const bool bare = std::any_of(kHfBare.begin(), kHfBare.end(), [&](auto end) {
    return name == end ||
           (name.ends_with(end) && name[name.size() - end.size() - 1] == '.');
  });
  return std::string(name) + (bare ? "" : bias ? ".bias" : ".weight");
}

[[noreturn]] void fail_unnamed(std::string_view ours) {
  fail<UnsupportedError>(
      fmt::format("Can't convert the tensor {}", ours),
      "Hugging Face's layout has no name for it",
      "Take the model's own folder");
}

}  // namespace

const HfPacked* hf_packed(std::string_view family, std::string_view ours) {
  const auto found =
      std::find_if(kPacked.begin(), kPacked.end(), [&](const HfPacked& row) {
        const auto& parts = row.parts;
        return row.family == family &&
               std::find(parts.begin(), parts.end(), ours) != parts.end();
      });
  return found == kPacked.end() ? nullptr : &*found;
}

HfNames::HfNames(const ModelSpec& spec, std::string_view family) : spec_(spec) {
  const Family* row = find_family(family);
  by_key_head_ = row && row->recurrent && row->recurrent->rows_by_key_head;
  const NameTable table = name_table(NameStyle::hugging_face, family);
  for (const Spelling& own : kSpellings) {
    if (own.family != family) {
      continue;
    }
    recurrent_ = own.recurrent;
    model_prefix_ = own.prefix;
    layers_ = own.layers;
    for (const Name& name : own.layer) {
      own_layer_.emplace(name.ours, name.theirs);
    }
    for (const Name& name : own.model) {
      own_model_.emplace(name.ours, name.theirs);
    }
  }
  take(own_layer_, table.own_layer);
  take(layer_, table.layer);
  take(own_model_, table.own_model);
  take(model_, table.model);
}

std::string HfNames::model_name(std::string_view ours, bool bias) const {
  if (ours.starts_with(kStreams)) {
    const std::size_t dot = ours.rfind('.');
    std::string name = model_name_of(ours.substr(0, dot), bias);
    return name.replace(name.find('*'), 1, ours.substr(dot + 1));
  }
  return model_name_of(ours, bias);
}

std::string HfNames::model_name_of(std::string_view ours, bool bias) const {
  const std::string_view own = at(own_model_, ours);
  const std::string_view name = own.empty() ? at(model_, ours) : own;
  if (name.empty()) {
    fail_unnamed(ours);
  }
  // Alone of its kind: what stands beside the inner model elsewhere.
  const bool outside = ours == "head" && own.empty();
  return with_ending(
      fmt::format("{}{}", outside ? "" : model_prefix_, name),
      bias);
}

std::string HfNames::layer_prefix(std::size_t layer) const {
  return fmt::format("{}{}{}.", model_prefix_, layers_, layer);
}

std::string_view HfNames::own_name(std::size_t layer, std::string_view ours)
    const {
  const std::string_view own = at(own_layer_, ours);
  if (!own.empty()) {
    return own;
  }
  const NormPlacement place = spec_.layers[layer].norm_placement;
  const bool before =
      place == NormPlacement::pre || place == NormPlacement::parallel_own_norms;
  const std::string_view after =
      before ? "feed_forward_norm" : "attention_post_norm";
  return ours == after ? "post_attention_layernorm" : at(layer_, ours);
}

std::string HfNames::layer_name(
    std::size_t layer,
    std::string_view ours,
    bool bias) const {
  const std::string prefix = layer_prefix(layer);
  const auto& recurrent = spec_.layers[layer].recurrent;
  if (ours.starts_with(kRecurrent) && recurrent) {
    const auto name = hf_recurrent_name(
        ours.substr(kRecurrent.size()),
        recurrent->kind,
        by_key_head_);
    if (name.empty() || recurrent_.empty()) {
      fail_unnamed(ours);
    }
    return with_ending(fmt::format("{}{}{}", prefix, recurrent_, name), bias);
  }
  const std::string_view name = own_name(layer, ours);
  if (name.empty()) {
    fail_unnamed(ours);
  }
  return with_ending(prefix + std::string(name), bias);
}

}  // namespace roofline
