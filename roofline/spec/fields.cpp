#include "roofline/spec/fields.h"

#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

constexpr std::size_t kLongestShown = 60;

constexpr std::string_view kCheckModel =
    "Check that the file is whole and belongs to this model";

// Configs in use have four levels.
constexpr int kMostLevels = 64;

bool nests_deeper(const nlohmann::json& value, int levels) {
  if (!value.is_structured()) {
    return false;
  }
  if (levels == 0) {
    return true;
  }
  for (const nlohmann::json& inner : value) {
    if (nests_deeper(inner, levels - 1)) {
      return true;
    }
  }
  return false;
}

std::optional<std::int64_t> as_integer(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(INT64_MAX)) {
      return std::nullopt;
    }
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) {
    return value.get<std::int64_t>();
  }
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    // Beyond 2^53 a double no longer tells whole numbers apart.
    if (std::abs(number) <= 9007199254740992.0 &&
        number == std::floor(number)) {
      return static_cast<std::int64_t>(number);
    }
  }
  return std::nullopt;
}

}  // namespace

std::string shown(const nlohmann::json& value) {
  if (value.is_array()) {
    return fmt::format("an array of {}", value.size());
  }
  if (value.is_object()) {
    return "an object";
  }
  if (value.is_binary()) {
    return "binary data";
  }
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    return fmt::format("{}", value.get<double>());
  }
  std::string text =
      value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kLongestShown) {
    text = text.substr(0, kLongestShown) + "…";
  }
  return text;
}

void refuse_deep_nesting(const nlohmann::json& value, std::string_view what) {
  if (nests_deeper(value, kMostLevels)) {
    fail<CheckpointError>(
        fmt::format("{} nests values more than {} deep", what, kMostLevels),
        "No model needs that",
        kCheckModel);
  }
}

Fields::Fields(const nlohmann::json& object, std::string prefix)
    : object_(object), prefix_(std::move(prefix)) {
  if (!object_.is_object()) {
    const std::string name =
        prefix_.substr(0, prefix_.find_last_not_of(". :") + 1);
    fail<CheckpointError>(
        fmt::format(
            "{} is {}",
            name.empty() ? "the metadata" : name,
            shown(object_)),
        "It must be an object",
        kCheckModel);
  }
}

std::string Fields::label(std::string_view name) const {
  const std::string cut(name.substr(0, 2 * kLongestShown));
  return prefix_ + cut;
}

void Fields::refuse(std::string_view name, std::string_view why) const {
  const auto found = object_.find(name);
  const std::string value =
      found == object_.end() ? std::string("absent") : shown(*found);
  fail<CheckpointError>(
      fmt::format("{} is {}", label(name), value),
      why,
      kCheckModel);
}

const nlohmann::json* Fields::find(std::string_view name) {
  read_.emplace(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::int64_t> Fields::integer(
    std::string_view name,
    IntRange range) {
  const nlohmann::json* value = find(name);
  if (!value) {
    return std::nullopt;
  }
  const std::optional<std::int64_t> number = as_integer(*value);
  if (!number || *number < range.low || *number > range.high) {
    refuse(
        name,
        fmt::format(
            "It must be a whole number from {} to {}",
            range.low,
            range.high));
  }
  return number;
}

std::optional<double> Fields::number(std::string_view name, NumberRange range) {
  const nlohmann::json* value = find(name);
  if (!value) {
    return std::nullopt;
  }
  const double number =
      value->is_number() ? value->get<double>() : std::nan("");
  // Written so that NaN fails.
  if (!(number >= range.low && number <= range.high)) {
    refuse(
        name,
        fmt::format(
            "It must be a number from {} to {}",
            range.low,
            range.high));
  }
  return number;
}

std::optional<bool> Fields::flag(std::string_view name) {
  const nlohmann::json* value = find(name);
  if (!value) {
    // The reference takes a null for false, unlike an absent flag.
    return object_.contains(name) ? std::optional(false) : std::nullopt;
  }
  if (!value->is_boolean()) {
    refuse(name, "It must be true or false");
  }
  return value->get<bool>();
}

std::optional<std::string> Fields::text(std::string_view name) {
  const nlohmann::json* value = find(name);
  if (!value) {
    return std::nullopt;
  }
  if (!value->is_string()) {
    refuse(name, "It must be a string");
  }
  return value->get<std::string>();
}

const nlohmann::json* Fields::list(std::string_view name, std::size_t most) {
  const nlohmann::json* value = find(name);
  if (value && (!value->is_array() || value->size() > most)) {
    refuse(name, fmt::format("It must be a list of at most {} numbers", most));
  }
  return value;
}

std::optional<std::vector<double>> Fields::numbers(
    std::string_view name,
    NumberRange range,
    std::size_t most) {
  const nlohmann::json* value = list(name, most);
  if (!value) {
    return std::nullopt;
  }
  std::vector<double> out;
  for (const nlohmann::json& item : *value) {
    const double number = item.is_number() ? item.get<double>() : std::nan("");
    if (!(number >= range.low && number <= range.high)) {
      refuse(
          name,
          fmt::format(
              "It holds {}, and each must be a number from {} to {}",
              shown(item),
              range.low,
              range.high));
    }
    out.push_back(number);
  }
  return out;
}

std::optional<std::vector<std::int64_t>> Fields::integers(
    std::string_view name,
    IntRange range,
    std::size_t most) {
  const nlohmann::json* value = list(name, most);
  if (!value) {
    return std::nullopt;
  }
  std::vector<std::int64_t> out;
  for (const nlohmann::json& item : *value) {
    const std::optional<std::int64_t> number = as_integer(item);
    if (!number || *number < range.low || *number > range.high) {
      refuse(
          name,
          fmt::format(
              "It holds {}, and each must be a whole number from {} to {}",
              shown(item),
              range.low,
              range.high));
    }
    out.push_back(*number);
  }
  return out;
}

std::int64_t Fields::needed_integer(std::string_view name, IntRange range) {
  const std::optional<std::int64_t> value = integer(name, range);
  if (!value) {
    refuse(name, "A model of this family can't do without it");
  }
  return *value;
}

double Fields::needed_number(std::string_view name, NumberRange range) {
  const std::optional<double> value = number(name, range);
  if (!value) {
    refuse(name, "This kind of scaling can't do without it");
  }
  return *value;
}

std::vector<std::string> Fields::unread() const {
  std::vector<std::string> out;
  for (const auto& [name, value] : object_.items()) {
    if (!value.is_null() && read_.find(name) == read_.end()) {
      out.push_back(name);
    }
  }
  return out;
}

std::vector<std::string> Fields::known() const {
  return {read_.begin(), read_.end()};
}

}  // namespace roofline
