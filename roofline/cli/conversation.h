// What a chat consists of: messages, and the way a user's lines become messages
// or commands. Knows nothing of models or terminals.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace roofline::cli {

/// A typed line that starts with a slash: "/save file" → {"save", "file"}.
struct SlashCommand {
  std::string name, argument;
};

/// nullopt for anything else. "//text" is no command.
std::optional<SlashCommand> parse_slash(std::string_view line);

/// Collects one message: a line; lines that end in a backslash and the next; or
/// a block between lines of """. `next` gives a line, nullopt at the end of
/// input. Returns nullopt when there is nothing more.
std::optional<std::string> read_message(
    const std::function<std::optional<std::string>(bool continued)>& next);

class Conversation {
 public:
  /// Empty text: no system message.
  void set_system(const std::string& text);
  const std::string& system() const { return system_; }
  void add(std::string_view role, std::string_view content);
  /// Takes the last message back, after an answer that failed.
  void drop_last();
  /// Forgets all but the system message.
  void clear();
  std::size_t size() const { return turns_.size(); }
  /// The JSON array that a chat template renders.
  nlohmann::ordered_json messages() const;

 private:
  std::string system_;
  nlohmann::ordered_json turns_ = nlohmann::ordered_json::array();
};

}  // namespace roofline::cli
