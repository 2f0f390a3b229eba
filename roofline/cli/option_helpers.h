// What the files of options.h share: declaring an option of a group, choosing
// one of several words, and filling what was given.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "roofline/cli/app.h"

namespace roofline::cli {

/// One option whose value has a type name in the help.
template <class T>
CLI::Option* add(
    App& app,
    const char* group,
    const char* names,
    const char* type,
    T& value,
    const char* description) {
  return app.add_option(names, value, description)
      ->group(group)
      ->type_name(type);
}

/// An option that may be given several times, one value each time.
template <class T>
void add_repeatable(
    App& app,
    const char* group,
    const char* names,
    const char* type,
    std::vector<T>& values,
    const char* description) {
  add(app, group, names, type, values, description)->allow_extra_args(false);
}

/// CLI::Range without its own words ("INT in [1 - 9]") in the help.
template <class T>
CLI::Validator in_range(T least, T most) {
  CLI::Validator range = CLI::Range(least, most);
  range.description("");
  return range;
}

/// Index of `value` in `names`. Throws UserError with the list.
std::size_t choose(
    const char* option,
    const std::string& value,
    const std::vector<std::string>& names);

/// Throws UserError.
void require_at_least(const char* option, int value, int least);

template <class T, class U>
void override_with(T& target, const std::optional<U>& value) {
  if (value) {
    target = *value;
  }
}

/// unescape() of each.
std::vector<std::string> unescape_all(const std::vector<std::string>& texts);

}  // namespace roofline::cli
