// Lines typed by a user: with editing and a history where libedit was found at
// build time and standard input is a terminal, plain lines otherwise.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace roofline::cli {

class LineReader {
 public:
  /// history: where typed lines are kept; empty: nowhere.
  explicit LineReader(const std::filesystem::path& history);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// Whether somebody types: then prompts are shown.
  bool interactive() const;
  /// One line without its end; nullopt at the end of input. The prompt goes to
  /// standard error.
  std::optional<std::string> read(const std::string& prompt);
  /// Adds a message to the history.
  void remember(const std::string& line);

 private:
  struct Editor;
  std::unique_ptr<Editor> editor_;  ///< null: plain lines
  bool interactive_ = false;
};

}  // namespace roofline::cli
