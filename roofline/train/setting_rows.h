// How a row of the table of settings is made for each type of field: it reads a
// text into the field, refuses what the field can't be, and writes it back.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/option_values.h"
#include "roofline/train/options.h"

namespace roofline::setting_rows {

using O = TrainOptions;

[[noreturn]] inline void refuse(
    std::string_view name,
    const std::string& text,
    const std::string& takes,
    const std::string& nearest = {}) {
  fail<UserError>(
      fmt::format("{} can't be \"{}\"", name, text),
      fmt::format("It takes {}", takes),
      nearest.empty() ? fmt::format("Give {} such a value", name) : nearest);
}

template <class T>
T parse_between(
    std::string_view name,
    const std::string& text,
    double least,
    double most,
    const std::string& takes) {
  const std::optional<T> value = parse_number<T>(text);
  if (!value || !(static_cast<double>(*value) >= least &&
                  static_cast<double>(*value) <= most)) {
    refuse(name, text, takes);
  }
  return *value;
}

/// Rows of the table, for each type of field.
template <class T, class Field>
TrainSetting number(
    std::string_view name,
    std::string_view group,
    std::string_view help,
    Field field,
    double least,
    double most,
    std::string_view takes) {
  return {
      name,
      "N",
      group,
      help,
      [=](O& o, const std::string& text) {
        field(o) =
            parse_between<T>(name, text, least, most, std::string(takes));
      },
      [=](const O& o) { return fmt::format("{}", field(const_cast<O&>(o))); }};
}

template <class Field>
TrainSetting flag(
    std::string_view name,
    std::string_view group,
    std::string_view help,
    Field field) {
  return {
      name,
      "on|off",
      group,
      help,
      [=](O& o, const std::string& text) {
        const bool on = text == "on" || text == "true" || text == "True";
        if (!on && text != "off" && text != "false" && text != "False") {
          refuse(name, text, "on or off");
        }
        field(o) = on;
      },
      [=](const O& o) {
        return std::string(field(const_cast<O&>(o)) ? "on" : "off");
      }};
}

template <class Field>
TrainSetting words(
    std::string_view name,
    std::string_view type,
    std::string_view group,
    std::string_view help,
    Field field) {
  return {
      name,
      type,
      group,
      help,
      [=](O& o, const std::string& text) { field(o) = text; },
      [=](const O& o) { return std::string(field(const_cast<O&>(o))); }};
}

template <class E>
using Choices = std::vector<std::pair<std::string_view, E>>;

template <class E, class Field>
TrainSetting choice(
    std::string_view name,
    std::string_view group,
    std::string_view help,
    Choices<E> choices,
    Field field) {
  std::vector<std::string> names;
  for (const auto& each : choices) {
    names.emplace_back(each.first);
  }
  const auto takes = fmt::format("one of {}", fmt::join(names, ", "));
  return {
      name,
      "NAME",
      group,
      help,
      [=](O& o, const std::string& text) {
        for (const auto& [word, value] : choices) {
          if (word == text) {
            field(o) = value;
            return;
          }
        }
        refuse(name, text, takes, did_you_mean(text, names));
      },
      [=](const O& o) {
        for (const auto& [word, value] : choices) {
          if (value == field(const_cast<O&>(o))) {
            return std::string(word);
          }
        }
        return std::string();
      }};
}

}  // namespace roofline::setting_rows
