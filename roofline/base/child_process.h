// Another program, run beside this one: lines go to its standard input and come
// from its standard output. Its standard error is ours.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace roofline {

class ChildProcess {
 public:
  /// command[0] is a path, or a name to be found in PATH. Throws UserError when
  /// it can't be started. quiet: its standard error goes nowhere.
  explicit ChildProcess(
      const std::vector<std::string>& command,
      bool quiet = false);
  /// Closes its input and ends it when it doesn't end by itself.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Adds the line break. False when it reads no more.
  bool write_line(std::string_view line);
  /// The next line without its break; nullopt when it has closed its output.
  std::optional<std::string> read_line();
  /// All that is left of its output.
  std::string read_all();
  /// Closes its input and waits: its exit status, or 128 + the signal.
  int wait();

 private:
  bool fill();

  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string buffer_;
};

struct CommandOutput {
  int status = 0;
  std::string text;
};

/// Runs a command to its end. Throws UserError when it can't be started.
CommandOutput run_command(
    const std::vector<std::string>& command,
    bool quiet = false);

/// Where PATH finds a program; empty when it doesn't.
std::string find_program(const std::string& name);

}  // namespace roofline
