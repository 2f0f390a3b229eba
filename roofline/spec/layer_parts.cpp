#include "roofline/spec/layer_parts.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace roofline {

namespace {

using Json = nlohmann::json;

constexpr std::array<std::pair<std::string_view, LayerPart>, 7> kNames = {{
    {"full_attention", LayerPart::attention},
    {"attention", LayerPart::attention},
    {"linear_attention", LayerPart::recurrence},
    {"mamba", LayerPart::recurrence},
    {"conv", LayerPart::recurrence},
    {"mlp", LayerPart::feed_forward},
    {"moe", LayerPart::mixture},
}};

constexpr std::array<std::pair<char, LayerPart>, 4> kLetters = {{
    {'M', LayerPart::recurrence},
    {'*', LayerPart::attention},
    {'-', LayerPart::feed_forward},
    {'E', LayerPart::mixture},
}};

constexpr std::string_view kPattern = "hybrid_override_pattern";

void check_count(Fields& config, std::string_view field, std::size_t count) {
  if (count < 1 || count > static_cast<std::size_t>(kMaxLayers)) {
    config.refuse(field, "There can't be so many layers");
  }
}

LayerPart part_named(Fields& config, std::string_view field, const Json& name) {
  for (const auto& [known, part] : kNames) {
    if (name == known) {
      return part;
    }
  }
  config.refuse(field, fmt::format("{} isn't known", shown(name)));
}

std::vector<LayerPart> parts_in(
    Fields& config,
    std::string_view field,
    const Json& list) {
  if (!list.is_array()) {
    config.refuse(field, "It must be an array of names");
  }
  check_count(config, field, list.size());
  std::vector<LayerPart> out;
  for (const Json& name : list) {
    out.push_back(part_named(config, field, name));
  }
  return out;
}

std::vector<LayerPart> parts_spelled(
    Fields& config,
    const std::string& letters) {
  check_count(config, kPattern, letters.size());
  std::vector<LayerPart> out;
  for (const char letter : letters) {
    bool known = false;
    for (const auto& [each, part] : kLetters) {
      if (each == letter) {
        out.push_back(part);
        known = true;
      }
    }
    if (!known) {
      config.refuse(kPattern, "Known letters are M, *, - and E");
    }
  }
  return out;
}

std::vector<LayerPart> parts_by_rule(
    Fields& config,
    const RecurrentRule& rule,
    std::size_t layers) {
  std::vector<LayerPart> out(layers, LayerPart::recurrence);
  if (rule.attention_interval > 0) {
    const auto interval =
        config.integer("full_attention_interval", {1, kMaxLayers})
            .value_or(rule.attention_interval);
    for (std::size_t i = 0; i < layers; ++i) {
      if ((i + 1) % static_cast<std::size_t>(interval) == 0) {
        out[i] = LayerPart::attention;
      }
    }
  }
  if (rule.attention_indices) {
    const auto listed = config.integers(
        "full_attn_idxs",
        {0, kMaxLayers},
        static_cast<std::size_t>(kMaxLayers));
    if (!listed) {
      return std::vector<LayerPart>(layers, LayerPart::attention);
    }
    for (const auto index : *listed) {
      if (static_cast<std::size_t>(index) < layers) {
        out[static_cast<std::size_t>(index)] = LayerPart::attention;
      }
    }
  }
  return out;
}

}  // namespace

std::optional<std::vector<LayerPart>> listed_parts(Fields& config) {
  const auto letters = config.text(kPattern);
  std::optional<std::vector<LayerPart>> out;
  for (std::string_view field : {"layer_types", "layers_block_type"}) {
    const Json* list = config.find(field);
    if (list && !out) {
      out = parts_in(config, field, *list);
    }
  }
  if (!out && letters) {
    out = parts_spelled(config, *letters);
  }
  return out;
}

std::vector<LayerPart> read_parts(
    Fields& config,
    const RecurrentRule& rule,
    std::size_t layers) {
  auto listed = listed_parts(config);
  if (!listed) {
    return parts_by_rule(config, rule, layers);
  }
  // Read, though a list goes before them.
  config.find("full_attn_idxs");
  config.find("full_attention_interval");
  if (listed->size() != layers) {
    config.refuse(
        config.object().contains("layer_types") ? "layer_types"
                                                : "layers_block_type",
        fmt::format("There must be one name for each of {} layers", layers));
  }
  return *listed;
}

}  // namespace roofline
