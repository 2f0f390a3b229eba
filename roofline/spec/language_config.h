// The part of a config.json that tells of the language model: "text_config" in
// a model that is more than that, else the whole; and its numbers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace roofline {

inline const nlohmann::json& language_config(const nlohmann::json& config) {
  const auto inner = config.find("text_config");
  return inner != config.end() && inner->is_object() ? *inner : config;
}

inline nlohmann::json& language_config(nlohmann::json& config) {
  const auto inner = config.find("text_config");
  return inner != config.end() && inner->is_object() ? *inner : config;
}

/// The whole number of that name; absent where there is none, null included.
inline std::int64_t whole_number(
    const nlohmann::json& config,
    const char* name,
    std::int64_t absent = 0) {
  const auto found = config.find(name);
  return found != config.end() && found->is_number_integer()
             ? found->get<std::int64_t>()
             : absent;
}

}  // namespace roofline
