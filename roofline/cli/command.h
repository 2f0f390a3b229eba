// A command of the program: its options, bound to values of its own, and what
// it does with them. main.cpp finds one by name, lets it declare its options,
// parses the arguments and runs it. One file per command.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roofline::cli {

class App;

enum ExitCode : int {
  kSuccess = 0,
  kRegression = 1,      ///< bench compare: something became slower
  kUserMistake = 2,     ///< an option, a prompt or a file is wrong
  kBug = 3,             ///< Roofline is wrong
  kInterrupted = 130,   ///< SIGINT, as shells count it
  kOutputClosed = 141,  ///< nobody reads standard output, as shells count it
  kTerminated = 143,    ///< SIGTERM
};

class Command {
 public:
  virtual ~Command() = default;
  /// Adds the options, grouped, and the examples as the app's footer.
  virtual void declare(App& app) = 0;
  /// Does the work with the values that the options were parsed into. Returns
  /// an exit code; throws what errors.h names.
  virtual int run() = 0;
};

/// What the list of commands says about one.
struct CommandEntry {
  std::string_view name;
  std::string_view summary;  ///< one line, no full stop
  std::unique_ptr<Command> (*make)();
};

/// All commands, in the order in which the help lists them.
std::span<const CommandEntry> commands();

std::unique_ptr<Command> make_generate();
std::unique_ptr<Command> make_chat();
std::unique_ptr<Command> make_inspect();
std::unique_ptr<Command> make_presets();
std::unique_ptr<Command> make_version();
std::unique_ptr<Command> make_tokenize();
std::unique_ptr<Command> make_template();
std::unique_ptr<Command> make_logits();
std::unique_ptr<Command> make_bench();
std::unique_ptr<Command> make_completion();
std::unique_ptr<Command> make_memory();
std::unique_ptr<Command> make_recommend();
std::unique_ptr<Command> make_doctor();
std::unique_ptr<Command> make_optimize();
std::unique_ptr<Command> make_profile();
std::unique_ptr<Command> make_evaluate();
std::unique_ptr<Command> make_quantize();
std::unique_ptr<Command> make_convert();
std::unique_ptr<Command> make_pull();
std::unique_ptr<Command> make_train();
std::unique_ptr<Command> make_fuse();

/// Makes the app of one command: name, options, help flag, examples.
std::unique_ptr<App> make_app(const CommandEntry& entry, Command& command);

/// Parses arguments (without the program's and the command's name) into what
/// the command declared. Returns true when help was asked for. Throws UserError
/// naming the option, with the nearest names for an unknown one.
bool parse_arguments(App& app, const std::vector<std::string>& arguments);

/// The whole program: arguments without the program's name to an exit code.
/// Prints errors as one message on standard error.
int run_program(const std::vector<std::string>& arguments);

}  // namespace roofline::cli
