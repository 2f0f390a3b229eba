// Settings of a run from a file of TOML or YAML, and as one of TOML.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>
#include <yaml-cpp/yaml.h>

#include "roofline/base/errors.h"
#include "roofline/train/options.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

/// A setting of a file, its value as the text that a flag would have.
struct Entry {
  std::string key;
  std::string text;
  int line = 0;
};

/// Of what file and key a value is, for errors.
struct Place {
  const fs::path& path;
  const std::string& key;
};

[[noreturn]] void refuse_value(const Place& place, int line) {
  fail<UserError>(
      fmt::format("{}:{}: {}", place.path.string(), line, place.key),
      "It has a value that no setting takes",
      "Give text, a number, true or false, or a list of texts");
}

[[noreturn]] void refuse_file(
    const fs::path& path,
    int line,
    std::string_view form,
    const std::string& why) {
  fail<UserError>(
      fmt::format("{}:{} isn't {}", path.string(), line, form),
      why,
      "Correct the file");
}

std::string text_of(const toml::node& node, const Place& place) {
  if (const auto* list = node.as_array()) {
    std::vector<std::string> parts;
    for (const auto& each : *list) {
      parts.push_back(text_of(each, place));
    }
    return fmt::format("{}", fmt::join(parts, ","));
  }
  if (const auto* text = node.as_string()) {
    return text->get();
  }
  if (const auto* whole = node.as_integer()) {
    return std::to_string(whole->get());
  }
  if (const auto* real = node.as_floating_point()) {
    return fmt::format("{}", real->get());
  }
  if (const auto* truth = node.as_boolean()) {
    return truth->get() ? "on" : "off";
  }
  refuse_value(place, static_cast<int>(node.source().begin.line));
}

std::vector<Entry> read_toml(const fs::path& path) {
  toml::table table;
  try {
    table = toml::parse_file(path.string());
  } catch (const toml::parse_error& error) {
    refuse_file(
        path,
        static_cast<int>(error.source().begin.line),
        "TOML",
        std::string(error.description()));
  }
  std::vector<Entry> entries;
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    entries.push_back(
        {name,
         text_of(node, {path, name}),
         static_cast<int>(node.source().begin.line)});
  }
  return entries;
}

std::string text_of(const YAML::Node& node, const Place& place) {
  if (node.IsSequence()) {
    std::vector<std::string> parts;
    for (const auto& each : node) {
      parts.push_back(text_of(each, place));
    }
    return fmt::format("{}", fmt::join(parts, ","));
  }
  if (!node.IsScalar()) {
    refuse_value(place, node.Mark().line + 1);
  }
  return node.Scalar();
}

std::vector<Entry> read_yaml(const fs::path& path) {
  std::vector<Entry> entries;
  try {
    const auto documents = YAML::LoadAllFromFile(path.string());
    if (documents.empty()) {
      return entries;
    }
    const YAML::Node& root = documents.front();
    if (documents.size() > 1) {
      refuse_file(
          path,
          std::max(1, documents[1].Mark().line + 1),
          "one table of settings",
          "Another document begins here");
    }
    if (!root.IsMap() && !root.IsNull()) {
      refuse_file(
          path,
          1,
          "a table of settings",
          "Its lines aren't key: value");
    }
    for (const auto& each : root) {
      const int line = each.first.Mark().line + 1;
      if (!each.first.IsScalar()) {
        refuse_file(
            path,
            line,
            "a table of settings",
            "A key must be the name of a setting");
      }
      const auto key = each.first.Scalar();
      if (each.second.IsNull()) {
        fail<UserError>(
            fmt::format("{}:{}: {} has no value", path.string(), line, key),
            "",
            "Give it one, or leave it out");
      }
      entries.push_back({key, text_of(each.second, {path, key}), line});
    }
  } catch (const YAML::Exception& error) {
    refuse_file(path, error.mark.line + 1, "YAML", error.msg);
  }
  return entries;
}

bool is_yaml(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& letter : extension) {
    letter = letter >= 'A' && letter <= 'Z'
                 ? static_cast<char>(letter - 'A' + 'a')
                 : letter;
  }
  return extension == ".yaml" || extension == ".yml";
}

/// Which of two the file means isn't ours to guess.
void refuse_repeats(const std::vector<Entry>& entries, const fs::path& path) {
  std::map<std::string, int> lines;
  for (const Entry& entry : entries) {
    const auto [first, added] = lines.emplace(entry.key, entry.line);
    if (!added) {
      fail<UserError>(
          fmt::format(
              "{}:{}: {} is given again",
              path.string(),
              std::max(entry.line, first->second),
              entry.key),
          fmt::format(
              "It has a value in line {}",
              std::min(entry.line, first->second)),
          "Leave one of them out");
    }
  }
}

}  // namespace

void read_train_file(TrainOptions& options, const fs::path& path) {
  std::error_code unknown;
  const bool is_file = fs::is_regular_file(path, unknown);
  if (!is_file || !std::ifstream(path)) {
    fail<UserError>(
        fmt::format("\"{}\" can't be read", path.string()),
        is_file || !fs::exists(path, unknown) ? "" : "It is no file",
        "Check the path and its permissions");
  }
  auto entries = is_yaml(path) ? read_yaml(path) : read_toml(path);
  for (Entry& entry : entries) {
    std::replace(entry.key.begin(), entry.key.end(), '_', '-');
  }
  refuse_repeats(entries, path);
  for (const Entry& entry : entries) {
    try {
      set_train_option(options, entry.key, entry.text);
    } catch (const UserError& error) {
      throw UserError(
          fmt::format("{}:{}: {}", path.string(), entry.line, error.what()));
    }
  }
}

std::string train_file_text(const TrainOptions& options) {
  toml::table table;
  for (const auto& row : train_settings()) {
    table.insert(row.name, row.get(options));
  }
  std::ostringstream out;
  out << table << '\n';
  return out.str();
}

}  // namespace roofline
