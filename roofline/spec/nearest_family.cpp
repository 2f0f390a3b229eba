#include "roofline/spec/nearest_family.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/family_trial.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/language_config.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/read_text_config.h"
#include "roofline/spec/unknown_fields.h"

namespace roofline {

namespace {

using Json = nlohmann::json;

/// Sizes under the names that other families have for them.
struct OtherName {
  std::string_view usual, other;
};
constexpr std::array kOtherNames = {
    OtherName{"hidden_size", "d_model"},
    OtherName{"hidden_size", "n_embd"},
    OtherName{"hidden_size", "dim"},
    OtherName{"intermediate_size", "ffn_dim"},
    OtherName{"intermediate_size", "ffn_hidden_size"},
    OtherName{"intermediate_size", "n_inner"},
    OtherName{"num_hidden_layers", "n_layer"},
    OtherName{"num_hidden_layers", "n_layers"},
    OtherName{"num_hidden_layers", "num_layers"},
    OtherName{"num_attention_heads", "n_head"},
    OtherName{"num_attention_heads", "n_heads"},
};

Json with_usual_names(const Json& config) {
  Json out = config;
  for (const OtherName& each : kOtherNames) {
    if (!out.contains(each.usual) && out.contains(each.other)) {
      out[std::string(each.usual)] = out[std::string(each.other)];
    }
  }
  return out;
}

/// The word at the front of what follows `before`; "" where that isn't there.
std::string word_after(std::string_view message, std::string_view before) {
  if (!message.starts_with(before)) {
    return "";
  }
  message.remove_prefix(before.size());
  return std::string(message.substr(0, message.find(' ')));
}

/// label: before each field in messages, "config.json: " or so.
TrialReader config_reader(const std::string& label) {
  TrialReader out;
  out.read = [label](const Json& config, const Family& family, auto& unread) {
    Fields fields(config, label);
    ModelSpec spec = read_text_config(fields, family);
    for (std::string_view read_later :
         {"model_type", "quantization", "quantization_config"}) {
      fields.find(read_later);
    }
    unread = unknown_fields(fields);
    return spec;
  };
  out.field_in = [label](std::string_view message) {
    std::string name = word_after(message, label);
    name.resize(std::min(name.size(), name.find_last_not_of('.') + 1));
    return name;
  };
  return out;
}

/// In the second part of an error, and in the third.
struct Words {
  std::string nearest, advice;
};

/// names: of the trials, one for each.
Words words_about(
    std::span<const FamilyTrial> trials,
    std::span<const std::string> names,
    const std::string& model_type,
    bool tensors,
    std::string_view field) {
  constexpr std::size_t kMostAlike = 4;
  std::vector<std::string> near = nearest_trials(trials, names, model_type);
  const std::string name = near.front();
  const auto at = std::find(names.begin(), names.end(), name);
  const FamilyTrial& trial =
      trials[static_cast<std::size_t>(at - names.begin())];
  near.erase(near.begin());
  near.resize(std::min(near.size(), kMostAlike));
  const std::string alike =
      near.empty() ? "" : fmt::format(" (as near: {})", fmt::join(near, ", "));
  const std::string differs = differences(trial);
  if (differs.empty()) {
    return {
        fmt::format(
            "{}{}: it explains all fields{}",
            name,
            alike,
            tensors ? " and the names of all tensors" : ""),
        fmt::format(
            "If the model computes what {} does, give that as the {}",
            name,
            field)};
  }
  return {
      fmt::format("{}{}: it explains all but these. {}", name, alike, differs),
      "docs/add-a-family.md shows how a family is added"};
}

}  // namespace

void refuse_unknown_family(
    const Json& config,
    const std::string& model_type,
    std::span<const std::string> tensors,
    const std::vector<std::string>& known) {
  const Json& text = language_config(config);
  const bool wrapped = &text != &config;
  const Json inner = with_usual_names(text);
  const Json type = inner.value("model_type", Json(model_type));
  const std::string inner_type =
      wrapped && type.is_string() ? type.get<std::string>() : model_type;
  const TrialReader reader =
      config_reader(wrapped ? "config.json: text_config." : "config.json: ");
  const Family* only = wrapped ? find_family(inner_type) : nullptr;
  std::vector<FamilyTrial> trials;
  std::vector<std::string> names;
  for (const Family& family : families()) {
    if (only == nullptr || only == &family) {
      trials.push_back(try_family(inner, family, reader, tensors));
      names.emplace_back(family.name);
    }
  }
  const Words words = words_about(
      trials,
      names,
      inner_type,
      !tensors.empty(),
      wrapped ? "model_type of a config.json made of the text_config alone"
              : "model_type");
  fail<UnsupportedError>(
      fmt::format(
          "config.json: model_type is {}, which isn't a known family",
          shown(Json(model_type))),
      fmt::format(
          "{}he nearest is {}",
          wrapped ? "Of its text_config t" : "T",
          words.nearest),
      fmt::format(
          "{}. The families known are {}",
          words.advice,
          fmt::join(known, ", ")));
}

void refuse_unknown_architecture(
    const Json& metadata,
    const std::string& architecture,
    std::span<const std::string> tensors) {
  TrialReader reader;
  reader.style = NameStyle::gguf;
  reader.read = [&](const Json& keys, const Family& family, auto& /*unread*/) {
    Json renamed = Json::object();
    const std::string own = architecture + ".";
    for (const auto& [key, value] : keys.items()) {
      const bool inside = key.starts_with(own);
      renamed
          [inside
               ? fmt::format("{}.{}", family.gguf_name, key.substr(own.size()))
               : key] = value;
    }
    renamed["general.architecture"] = family.gguf_name;
    return read_gguf_metadata(renamed, {});
  };
  std::vector<FamilyTrial> trials;
  std::vector<std::string> names;
  for (const Family& family : families()) {
    if (family.gguf_name.empty()) {
      continue;
    }
    const std::string theirs = std::string(family.gguf_name) + ".";
    reader.field_in = [&](std::string_view message) {
      const std::string unknown = word_after(message, "The metadata has ");
      const std::string name =
          unknown.empty() ? word_after(message, "") : unknown;
      return name.starts_with(theirs) ? fmt::format(
                                            "{}.{}",
                                            architecture,
                                            name.substr(theirs.size()))
                                      : "";
    };
    trials.push_back(try_family(metadata, family, reader, tensors));
    names.emplace_back(family.gguf_name);
  }
  const Words words = words_about(
      trials,
      names,
      architecture,
      !tensors.empty(),
      "general.architecture");
  fail<UnsupportedError>(
      fmt::format(
          "general.architecture is {}, which isn't a known one",
          shown(Json(architecture))),
      fmt::format("The nearest is {}", words.nearest),
      fmt::format(
          "{}. The architectures known are {}",
          words.advice,
          fmt::join(gguf_architectures(), ", ")));
}

}  // namespace roofline
