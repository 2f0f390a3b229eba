#include "roofline/cli/parse_errors.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"

namespace roofline::cli {

namespace {

std::string command_name(const CLI::App& app) {
  return "roofline " + app.get_name();
}

std::string see_help(const CLI::App& app) {
  return fmt::format("See `{} --help`", command_name(app));
}

/// Every way to write an option: "-n", "--max-tokens".
std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
    for (const std::string& name : option->get_snames()) {
      names.push_back("-" + name);
    }
  }
  return names;
}

/// The option that a message of CLI11's names between two of its words.
const CLI::Option* option_between(
    const CLI::App& app,
    const std::string& message,
    std::string_view before,
    std::string_view after) {
  const std::size_t end = message.find(after);
  if (!message.starts_with(before) || end == std::string::npos) {
    return nullptr;
  }
  return app.get_option_no_throw(
      message.substr(before.size(), end - before.size()));
}

void explain_count(const CLI::App& app, const std::string& message) {
  const CLI::Option* option = option_between(app, message, "", ": ");
  if (option == nullptr) {
    return;
  }
  const std::size_t given = option->results().size();
  if (given > 1) {
    fail<UserError>(
        fmt::format("{} was given {} times", option->get_name(), given),
        "It takes one value",
        "Leave all but one out");
  }
  fail<UserError>(
      fmt::format("{} has no value", option->get_name()),
      fmt::format("{} must follow it", option->get_type_name()),
      see_help(app));
}

}  // namespace

void fail_parse(const CLI::App& app, const CLI::ParseError& error) {
  std::string what = error.what();
  while (!what.empty() &&
         std::isspace(static_cast<unsigned char>(what.back())) != 0) {
    what.pop_back();
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    explain_count(app, what);
  }
  fail<UserError>(
      fmt::format("{}: {}", command_name(app), what),
      "",
      see_help(app));
}

void fail_unexpected(const CLI::App& app, const std::string& argument) {
  if (argument.size() > 1 && argument[0] == '-') {
    const std::string name = argument.substr(0, argument.find('='));
    const std::vector<std::string> names = option_names(app);
    const std::string near = did_you_mean(name, names);
    fail<UserError>(
        fmt::format("{} has no option {}", command_name(app), name),
        near,
        near.empty() ? see_help(app) : "");
  }
  fail<UserError>(
      fmt::format("{} doesn't expect \"{}\"", command_name(app), argument),
      "",
      "Put a text of several words in quotes. " + see_help(app));
}

void refuse_empty_values(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string type = option->get_type_name();
    // Of these the command itself says what is wrong, where something is.
    const bool text = type.find("TEXT") != std::string::npos ||
                      type.find("PROMPT") != std::string::npos;
    const auto& values = option->results();
    if (text || option->get_expected_max() == 0 ||
        std::find(values.begin(), values.end(), "") == values.end()) {
      continue;
    }
    const std::string name =
        option->nonpositional() ? option->get_name() : "The argument " + type;
    fail<UserError>(
        name + " is empty",
        "A variable of the shell may not be set",
        "Give a value, or leave it out");
  }
}

}  // namespace roofline::cli
