#include <algorithm>
#include <array>
#include <exception>
#include <new>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/help.h"
#include "roofline/cli/mlx_version.h"
#include "roofline/cli/output.h"
#include "roofline/cli/signals.h"

namespace roofline::cli {

namespace {

/// Other names of commands; all may end in ".py".
struct Alias {
  std::string_view name;
  std::string_view command;
};
constexpr std::array<Alias, 3> kAliases = {{
    {"memory_analyzer", "memory"},
    {"benchmark", "bench"},
    {"metal_optimizer", "optimize"},
}};

/// The command's own name; anything else stays as it is.
std::string without_alias(const std::string& name) {
  constexpr std::string_view kScript = ".py";
  const bool script =
      name.size() > kScript.size() &&
      name.compare(name.size() - kScript.size(), kScript.size(), kScript) == 0;
  const std::string bare =
      script ? name.substr(0, name.size() - kScript.size()) : name;
  for (const Alias& alias : kAliases) {
    if (alias.name == bare) {
      return std::string(alias.command);
    }
  }
  return name;
}

const CommandEntry& find_command(const std::string& given) {
  const std::string name = without_alias(given);
  const auto all = commands();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const CommandEntry& entry) {
        return entry.name == name;
      });
  if (found != all.end()) {
    return *found;
  }
  std::vector<std::string> names;
  for (const CommandEntry& entry : all) {
    names.emplace_back(entry.name);
  }
  const bool option = !name.empty() && name[0] == '-';
  const std::string near = did_you_mean(name, names);
  fail<UserError>(
      fmt::format("There is no {} {}", option ? "option" : "command", name),
      near,
      near.empty() ? "See `roofline --help`" : "");
}

int run_command(
    const CommandEntry& entry,
    const std::vector<std::string>& arguments) {
  const std::unique_ptr<Command> command = entry.make();
  const std::unique_ptr<App> app = make_app(entry, *command);
  if (parse_arguments(*app, arguments)) {
    write_output(app->help());
    return kSuccess;
  }
  // These two must work, and tell, when MLX doesn't fit.
  if (entry.name != "version" && entry.name != "completion") {
    require_same_mlx();
  }
  return command->run();
}

int dispatch(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    write_notice(program_help());
    return kUserMistake;
  }
  std::string name = arguments.front();
  arguments.erase(arguments.begin());
  if (name == "--help" || name == "-h" ||
      (name == "help" && arguments.empty())) {
    write_output(program_help());
    return kSuccess;
  }
  if (name == "help") {
    name = arguments.front();
    arguments = {"--help"};
  } else if (name == "--version" || name == "-V") {
    name = "version";
  }
  return run_command(find_command(name), arguments);
}

int report(std::string_view text, int code) {
  write_notice(fmt::format("roofline: {}\n", text));
  return code;
}

int report_bug(std::string_view text) {
  return report(
      fmt::format(
          "{} This is a fault of roofline. Please report it with the command "
          "and the output of `roofline version`.",
          text),
      kBug);
}

}  // namespace

int run_program(const std::vector<std::string>& arguments) {
  occupy_standard_descriptors();
  ignore_output_signals();
  try {
    return dispatch(arguments);
  } catch (const OutputClosed&) {
    return kOutputClosed;
  } catch (const BugError& error) {
    return report_bug(error.what());
  } catch (const Error& error) {
    return report(error.what(), kUserMistake);
  } catch (const std::bad_alloc&) {
    return report(
        "There is not enough memory. Close other programs, or take a smaller "
        "model or --quant int4.",
        kUserMistake);
  } catch (const std::exception& error) {
    return report_bug(error.what());
  }
}

}  // namespace roofline::cli
