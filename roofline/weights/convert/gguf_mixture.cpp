#include "roofline/weights/convert/gguf_mixture.h"

#include <algorithm>
#include <array>

namespace roofline {

namespace {

struct Name {
  std::string_view ours;
  std::string_view gguf;
  bool by_expert = false;
  GgufChange change = GgufChange::none;
};

constexpr std::array<Name, 12> kNames = {{
    {"attention.sinks", "attn_sinks"},
    {"feed_forward.router", "ffn_gate_inp"},
    {"feed_forward.router.selection", "exp_probs_b.bias"},
    {"feed_forward.shared.gate", "ffn_gate_shexp"},
    {"feed_forward.shared.up", "ffn_up_shexp"},
    {"feed_forward.shared.down", "ffn_down_shexp"},
    {"feed_forward.shared.weigh", "ffn_gate_inp_shexp"},
    {"feed_forward.experts.gate", "ffn_gate_exps", true},
    {"feed_forward.experts.up", "ffn_up_exps", true},
    {"feed_forward.experts.down", "ffn_down_exps", true},
    {"feed_forward.experts.gate_up",
     "ffn_gate_exps",
     true,
     GgufChange::even_rows},
    {"feed_forward.experts.gate_up", "ffn_up_exps", true, GgufChange::odd_rows},
}};

// llama.cpp's numbers for them.
constexpr int kSoftmax = 1;
constexpr int kSigmoid = 2;

}  // namespace

std::vector<std::pair<std::string, GgufValue>> gguf_mixture_metadata(
    const ModelSpec& spec,
    const GgufArchitecture& architecture) {
  std::vector<std::pair<std::string, GgufValue>> out;
  const auto size = [&](const char* name, std::int64_t value) {
    out.emplace_back(name, static_cast<std::uint32_t>(value));
  };
  const auto first = std::find_if(
      spec.layers.begin(),
      spec.layers.end(),
      [](const LayerSpec& layer) { return layer.feed_forward->mixture; });
  if (first == spec.layers.end()) {
    if (architecture.needs_shared_experts) {
      // No layer reads them, but the loader asks for the keys.
      size("expert_feed_forward_length", spec.layers[0].feed_forward->hidden);
      size("expert_shared_count", 0);
      size("leading_dense_block_count", first - spec.layers.begin());
    }
    return out;
  }
  const MixtureSpec& mixture = *first->feed_forward->mixture;
  size("expert_count", mixture.experts);
  size("expert_used_count", mixture.top_k);
  size("expert_feed_forward_length", mixture.expert_hidden);
  if (architecture.dense_first) {
    size("leading_dense_block_count", first - spec.layers.begin());
    size("interleave_moe_layer_step", 1);
  }
  if (mixture.shared_hidden > 0) {
    size("expert_shared_feed_forward_length", mixture.shared_hidden);
  }
  if (mixture.shared_hidden % mixture.expert_hidden == 0) {
    size("expert_shared_count", mixture.shared_hidden / mixture.expert_hidden);
  }
  if (mixture.groups > 1) {
    size("expert_group_count", mixture.groups);
    size("expert_group_used_count", mixture.top_groups);
  }
  if (mixture.score == ExpertScore::sigmoid) {
    size("expert_gating_func", kSigmoid);
  } else if (architecture.expert_weights) {
    size("expert_gating_func", kSoftmax);
  }
  if (architecture.expert_weights) {
    out.emplace_back("expert_weights_norm", mixture.renormalise);
    out.emplace_back("expert_weights_scale", mixture.scale);
  }
  return out;
}

std::vector<GgufSource> gguf_mixture_sources(
    const std::string& ours,
    std::string_view rest,
    const LayerSpec& layer) {
  std::vector<GgufSource> out;
  for (const Name& name : kNames) {
    if (name.ours != rest) {
      continue;
    }
    GgufSource source;
    source.ours = {ours};
    source.name = std::string(name.gguf);
    if (!source.name.ends_with(".bias")) {
      source.name += ours.ends_with(".bias") ? ".bias" : ".weight";
    }
    source.change = name.change;
    if (name.by_expert) {
      source.experts = layer.feed_forward->mixture->experts;
    }
    out.push_back(std::move(source));
  }
  return out;
}

}  // namespace roofline
