#include "roofline/cli/app.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/command.h"
#include "roofline/cli/help.h"
#include "roofline/cli/parse_errors.h"

namespace roofline::cli {

namespace {

constexpr auto kCommands = std::to_array<CommandEntry>({
    {"generate", "Answer a prompt", make_generate},
    {"chat", "Talk with a model", make_chat},
    {"train", "Teach a model from examples", make_train},
    {"fuse", "Write an adapter into its model", make_fuse},
    {"inspect",
     "Say what a checkpoint is: spec, tensors, memory",
     make_inspect},
    {"presets", "List the sampling presets", make_presets},
    {"bench", "Measure prefill and decode speed", make_bench},
    {"optimize", "Find the settings that run a model best", make_optimize},
    {"memory", "Say what a model takes in memory, and what fits", make_memory},
    {"recommend",
     "Say which model and settings suit a machine",
     make_recommend},
    {"doctor", "Check this machine and the set-up", make_doctor},
    {"profile", "Trace a run: memory and time", make_profile},
    {"evaluate",
     "Measure perplexity, divergence and task accuracy",
     make_evaluate},
    {"quantize",
     "Write a model in fewer bits and say what it loses",
     make_quantize},
    {"tokenize", "Turn text into token ids", make_tokenize},
    {"template", "Render a chat template", make_template},
    {"logits", "Compute the logits of token ids", make_logits},
    {"pull", "Download a model from a hub", make_pull},
    {"convert", "Write a checkpoint in another layout", make_convert},
    {"completion", "Print a completion script for a shell", make_completion},
    {"version", "Say what this program is built of and runs on", make_version},
});

}  // namespace

std::span<const CommandEntry> commands() {
  return kCommands;
}

CLI::Option* App::add_flag(
    std::string names,
    bool& value,
    std::string description) {
  CLI::Option* option =
      CLI::App::add_flag(std::move(names), value, std::move(description));
  check_texts(*option, [option](std::string& text) {
    // What CLI11 itself writes where a flag has no value.
    if (text != "true") {
      fail<UserError>(
          fmt::format("{} can't be \"{}\"", option->get_name(), text),
          "It takes no value",
          "Give it alone, or leave it out");
    }
  });
  return option;
}

void App::add_help() {
  add_flag("-h,--help", help_, "Show this help.")->group("Other");
}

void App::refuse_number(
    const CLI::Option& option,
    const std::string& text,
    NumberKind kind) {
  const bool fraction = kind == NumberKind::fraction;
  const bool below = kind == NumberKind::natural && text[0] == '-';
  const bool too_large =
      !below && (fraction ? is_decimal_number(text) : is_whole_number(text));
  const bool list = option.get_type_name().ends_with(",…");
  fail<UserError>(
      fmt::format("{} can't be \"{}\"", option.get_name(), text),
      too_large ? "That is too large a number" : "",
      fmt::format(
          "It takes {}{} in decimal digits{}",
          list       ? "whole numbers"
          : fraction ? "a number"
                     : "a whole number",
          below ? " from 0" : "",
          list ? ", with commas between" : ""));
}

std::unique_ptr<App> make_app(const CommandEntry& entry, Command& command) {
  auto app = std::make_unique<App>(
      std::string(entry.summary),
      std::string(entry.name));
  app->set_help_flag();
  app->formatter(std::make_shared<ManFormatter>());
  command.declare(*app);
  app->add_help();
  // Collected rather than refused, so that the message can suggest a name.
  app->allow_extras();
  return app;
}

bool parse_arguments(App& app, const std::vector<std::string>& arguments) {
  // After a "--" everything is a text; before it, help wins over any mistake.
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  if (std::find(arguments.begin(), end, "--help") != end ||
      std::find(arguments.begin(), end, "-h") != end) {
    return true;
  }
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    fail_parse(app, error);
  }
  // CLI11 leaves the "--" itself among the rest.
  for (const std::string& extra : app.remaining()) {
    if (extra != "--") {
      fail_unexpected(app, extra);
    }
  }
  refuse_empty_values(app);
  return false;
}

}  // namespace roofline::cli
