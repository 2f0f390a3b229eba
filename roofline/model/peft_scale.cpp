#include "roofline/model/peft_scale.h"

#include <cmath>
#include <regex>

#include <fmt/format.h>

#include "roofline/model/adapter_files.h"
#include "roofline/weights/json_file.h"

namespace roofline {

using adapter_files::refuse_adapter;

PeftScales::PeftScales(const std::filesystem::path& folder)
    : folder_(folder),
      config_(read_ordered_json_file(folder / adapter_files::kConfig)) {
  if (!config_.is_object()) {
    refuse_adapter(folder_, "its config is no object");
  }
}

/// nullopt: there is none.
std::optional<double> PeftScales::number(const char* key) const {
  const auto found = config_.find(key);
  if (found == config_.end() || found->is_null()) {
    return std::nullopt;
  }
  if (!found->is_number()) {
    refuse_adapter(folder_, fmt::format("its {} is no number", key));
  }
  return found->get<double>();
}

std::optional<double> PeftScales::in_pattern(
    const char* pattern,
    const std::string& module) const {
  const auto found = config_.find(pattern);
  if (found == config_.end() || found->is_null()) {
    return std::nullopt;
  }
  if (!found->is_object()) {
    refuse_adapter(folder_, fmt::format("its {} is no object", pattern));
  }
  for (const auto& [key, value] : found->items()) {
    if (!value.is_number()) {
      refuse_adapter(
          folder_,
          fmt::format("its {} has no number for \"{}\"", pattern, key));
    }
    try {
      if (std::regex_match(module, std::regex("(.*\\.)?(" + key + ")"))) {
        return value.get<double>();
      }
    } catch (const std::regex_error&) {
      refuse_adapter(folder_, fmt::format("its {} has \"{}\"", pattern, key));
    }
  }
  return std::nullopt;
}

float PeftScales::scale(double alpha, double rank) const {
  const auto root = config_.find("use_rslora");
  const bool rooted = root != config_.end() && *root == true;
  return static_cast<float>(alpha / (rooted ? std::sqrt(rank) : rank));
}

std::optional<float> PeftScales::general() const {
  const auto rank = number("r");
  const auto alpha = number("lora_alpha");
  if (!alpha || !rank || *rank <= 0) {
    return std::nullopt;
  }
  return scale(*alpha, *rank);
}

float PeftScales::of(const std::string& module) const {
  auto rank = in_pattern("rank_pattern", module);
  auto alpha = in_pattern("alpha_pattern", module);
  rank = rank ? rank : number("r");
  alpha = alpha ? alpha : number("lora_alpha");
  if (!rank || *rank <= 0) {
    refuse_adapter(folder_, "its config tells no rank of " + module);
  }
  if (!alpha) {
    refuse_adapter(folder_, "its config tells no lora_alpha of " + module);
  }
  return scale(*alpha, *rank);
}

}  // namespace roofline
