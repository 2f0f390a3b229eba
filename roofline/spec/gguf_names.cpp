#include "roofline/spec/gguf_names.h"

#include <algorithm>
#include <array>

#include "roofline/spec/families.h"
#include "roofline/spec/mixture_names.h"
#include "roofline/spec/recurrent_names.h"
#include "roofline/spec/tensor_name_rows.h"

namespace roofline {

namespace {

constexpr std::string_view kMixture = "feed_forward.";
constexpr std::string_view kRecurrentPart = "recurrent.";

// Neither weights nor biases.
constexpr std::array<std::string_view, 4> kGgufBare = {
    "ffn_gate_inp.scale",
    "ffn_down_exps.scale",
    "ssm_a",
    "ssm_d"};

std::string_view name_in(
    std::span<const NameRow> own,
    std::span<const NameRow> rows,
    std::string_view ours) {
  for (const auto& each : {own, rows}) {
    for (const NameRow& row : each) {
      const bool whole = row.action == NameAction::rename ||
                         row.action == NameAction::split_streams;
      if (whole && row.target == ours) {
        return row.pattern;
      }
    }
  }
  return "";
}

std::string_view name_in_parts(std::string_view ours, const LayerSpec& layer) {
  if (layer.recurrent && ours.starts_with(kRecurrentPart)) {
    return gguf_recurrent_name(
        ours.substr(kRecurrentPart.size()),
        layer.recurrent->kind);
  }
  if (layer.feed_forward && layer.feed_forward->mixture &&
      ours.starts_with(kMixture)) {
    return gguf_mixture_name(ours.substr(kMixture.size()));
  }
  return "";
}

}  // namespace

std::string_view gguf_name(
    std::string_view ours,
    const LayerSpec* layer,
    std::string_view architecture) {
  const Family* family = find_gguf_family(architecture);
  const NameTable table = name_table(
      NameStyle::gguf,
      family != nullptr ? family->gguf_name : architecture);
  if (layer == nullptr) {
    return name_in(table.own_model, table.model, ours);
  }
  const bool only_fed = !layer->attention && !layer->recurrent;
  if (only_fed && ours == "feed_forward_norm") {
    return "attn_norm";
  }
  if (ours == "attention_post_norm") {
    return "post_attention_norm";
  }
  const std::string_view found = name_in_parts(ours, *layer);
  return found.empty() ? name_in(table.own_layer, table.layer, ours) : found;
}

std::string with_gguf_ending(std::string_view name, bool bias) {
  std::string out(name);
  if (name == "exp_probs_b") {
    return out + ".bias";
  }
  if (std::find(kGgufBare.begin(), kGgufBare.end(), name) != kGgufBare.end()) {
    return out;
  }
  return out + (bias ? ".bias" : ".weight");
}

}  // namespace roofline
