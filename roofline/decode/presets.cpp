#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/decode/sampling.h"

#include <fmt/format.h>

namespace roofline {

namespace {

Preset make_preset(
    std::string name,
    std::string title,
    float temperature,
    float top_p,
    int top_k,
    float repetition_penalty) {
  SamplingOptions options;
  options.temperature = temperature;
  options.top_p = top_p;
  options.top_k = top_k;
  options.repetition_penalty = repetition_penalty;
  return {std::move(name), std::move(title), std::move(options)};
}

}  // namespace

const std::vector<Preset>& presets() {
  // The temperature is the middle of the guide's range, which the comment says.
  static const std::vector<Preset> table = {
      // 0.7 to 0.9
      make_preset("creative", "Creative writing", 0.8f, 0.9f, 50, 1.1f),
      // 0.1 to 0.3
      make_preset("qa", "Questions and facts", 0.2f, 0.9f, 40, 1.2f),
      // 0.2 to 0.5
      make_preset("code", "Code generation", 0.35f, 0.95f, 50, 1.1f),
      // 0.6 to 0.8
      make_preset("chat", "Chat", 0.7f, 0.9f, 40, 1.1f),
  };
  return table;
}

const Preset& find_preset(std::string_view name) {
  std::vector<std::string> names;
  std::string listed;
  for (const Preset& preset : presets()) {
    if (preset.name == name) {
      return preset;
    }
    names.push_back(preset.name);
    listed += (listed.empty() ? "" : ", ") + preset.name;
  }
  fail<UserError>(
      fmt::format("There is no preset \"{}\"", name),
      fmt::format("The presets are {}", listed),
      did_you_mean(name, names));
}

}  // namespace roofline
