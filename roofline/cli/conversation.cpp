#include "roofline/cli/conversation.h"

namespace roofline::cli {

namespace {

constexpr std::string_view kBlock = "\"\"\"";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// Adds lines up to the closing quotes, or to the end of input.
void read_block(
    std::string& text,
    const std::function<std::optional<std::string>(bool)>& next) {
  while (const auto line = next(true)) {
    const std::size_t end = line->find(kBlock);
    text += line->substr(0, end);
    if (end != std::string::npos) {
      return;
    }
    text += '\n';
  }
}

}  // namespace

std::optional<SlashCommand> parse_slash(std::string_view line) {
  line = trimmed(line);
  if (line.size() < 2 || line[0] != '/' || line[1] == '/') {
    return std::nullopt;
  }
  const std::size_t space = line.find_first_of(" \t");
  SlashCommand command;
  command.name =
      line.substr(1, space == std::string_view::npos ? space : space - 1);
  if (space != std::string_view::npos) {
    command.argument = trimmed(line.substr(space));
  }
  return command;
}

std::optional<std::string> read_message(
    const std::function<std::optional<std::string>(bool continued)>& next) {
  std::optional<std::string> line = next(false);
  if (!line) {
    return std::nullopt;
  }
  if (trimmed(*line).starts_with(kBlock)) {
    std::string text(trimmed(*line).substr(kBlock.size()));
    const std::size_t end = text.find(kBlock);
    if (end != std::string::npos) {
      return text.substr(0, end);
    }
    if (!text.empty()) {
      text += '\n';
    }
    read_block(text, next);
    return text;
  }
  std::string text = *line;
  while (text.ends_with('\\')) {
    text.back() = '\n';
    line = next(true);
    if (!line) {
      break;
    }
    text += *line;
  }
  return text;
}

void Conversation::set_system(const std::string& text) {
  system_ = text;
}

void Conversation::add(std::string_view role, std::string_view content) {
  turns_.push_back({{"role", role}, {"content", content}});
}

void Conversation::drop_last() {
  if (!turns_.empty()) {
    turns_.erase(turns_.size() - 1);
  }
}

void Conversation::clear() {
  turns_ = nlohmann::ordered_json::array();
}

nlohmann::ordered_json Conversation::messages() const {
  auto all = nlohmann::ordered_json::array();
  if (!system_.empty()) {
    all.push_back({{"role", "system"}, {"content", system_}});
  }
  for (const auto& turn : turns_) {
    all.push_back(turn);
  }
  return all;
}

}  // namespace roofline::cli
