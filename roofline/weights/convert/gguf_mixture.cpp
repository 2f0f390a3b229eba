#include "roofline/weights/convert/gguf_mixture.h"

#include <array>

namespace roofline {

namespace {

struct Name {
  std::string_view ours;
  std::string_view gguf;
  bool by_expert = false;
  GgufChange change = GgufChange::none;
};

constexpr std::array<Name, 7> kNames = {{
    {"attention.sinks", "attn_sinks"},
    {"feed_forward.router", "ffn_gate_inp"},
    {"feed_forward.experts.gate", "ffn_gate_exps", true},
    {"feed_forward.experts.up", "ffn_up_exps", true},
    {"feed_forward.experts.down", "ffn_down_exps", true},
    {"feed_forward.experts.gate_up",
     "ffn_gate_exps",
     true,
     GgufChange::even_rows},
    {"feed_forward.experts.gate_up", "ffn_up_exps", true, GgufChange::odd_rows},
}};

}  // namespace

std::vector<std::string> gguf_mixture_architectures() {
  return {"gpt-oss", "qwen3moe"};
}

std::vector<std::pair<std::string, std::int64_t>> gguf_mixture_sizes(
    const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.feed_forward && layer.feed_forward->mixture) {
      const MixtureSpec& mixture = *layer.feed_forward->mixture;
      return {
          {"expert_count", mixture.experts},
          {"expert_used_count", mixture.top_k},
          {"expert_feed_forward_length", mixture.expert_hidden}};
    }
  }
  return {};
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
    source.name = std::string(name.gguf) +
                  (ours.ends_with(".bias") ? ".bias" : ".weight");
    source.change = name.change;
    if (name.by_expert) {
      source.experts = layer.feed_forward->mixture->experts;
    }
    out.push_back(std::move(source));
  }
  return out;
}

}  // namespace roofline
