#include "roofline/weights/json_file.h"

#include <fmt/format.h>

#include <fstream>
#include <set>
#include <system_error>

#include "roofline/base/errors.h"
#include "roofline/weights/printable.h"

namespace roofline {

using nlohmann::json;

namespace {

constexpr int kMostDepth = 64;

[[noreturn]] void fail_json(const std::string& label, const std::string& why) {
  fail<CheckpointError>(
      label + " is not usable JSON",
      why,
      "Download or copy the file again");
}

/// "… parse error at line 1, column 5: …" without the library's own prefix.
std::string reason(const json::exception& error) {
  const std::string_view text = error.what();
  const std::size_t prefix = text.find("] ");
  return printable(
      prefix == std::string_view::npos ? text : text.substr(prefix + 2));
}

/// Python writes the infinity as a bare word, which JSON has not: it becomes
/// the object that newer files have in its place. Strings stay as they are.
std::string with_infinities(const std::string& text) {
  constexpr std::string_view kWord = "Infinity";
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!quoted && text.compare(i, kWord.size(), kWord) == 0) {
      const bool negative = !out.empty() && out.back() == '-';
      if (negative) {
        out.pop_back();
      }
      out += negative ? R"({"__float__":"-Infinity"})"
                      : R"({"__float__":"Infinity"})";
      i += kWord.size() - 1;
      continue;
    }
    out += text[i];
    if (quoted && text[i] == '\\' && i + 1 < text.size()) {
      out += text[++i];
    } else if (text[i] == '"') {
      quoted = !quoted;
    }
  }
  return out;
}

template <class Json>
Json parse_as(std::string_view text, const std::string& label, int max_depth) {
  std::set<std::string> names;
  const auto check =
      [&](int depth, typename Json::parse_event_t event, Json& parsed) -> bool {
    if (depth > max_depth) {
      fail_json(label, fmt::format("It nests deeper than {}", max_depth));
    }
    if (event == Json::parse_event_t::key && depth == 1 &&
        !names.insert(parsed.template get_ref<const std::string&>()).second) {
      fail_json(
          label,
          fmt::format(
              "It names \"{}\" twice",
              printable(parsed.template get_ref<const std::string&>())));
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const json::exception& error) {
    fail_json(label, reason(error));
  }
}

std::string read_finite(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  const bool plain = text.find("Infinity") == std::string::npos;
  return plain ? text : with_infinities(text);
}

}  // namespace

json parse_json(
    std::string_view text,
    const std::string& label,
    int max_depth) {
  return parse_as<json>(text, label, max_depth);
}

std::string read_text_file(
    const std::filesystem::path& path,
    std::size_t max_bytes) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) {
    fail<CheckpointError>(
        "Can't read " + path.string(),
        error.message(),
        "Check the path and its permissions");
  }
  if (bytes > max_bytes) {
    fail<CheckpointError>(
        "Can't read " + path.string(),
        fmt::format(
            "It has {} bytes; at most {} can be right",
            bytes,
            max_bytes),
        "Download or copy the file again");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(static_cast<std::size_t>(bytes), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (!file.good() && text.size() != bytes) {
    fail<CheckpointError>(
        "Can't read " + path.string(),
        "Reading stopped before its end",
        "Check the path and its permissions");
  }
  return text;
}

json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_finite(path), path.string());
}

nlohmann::ordered_json read_ordered_json_file(
    const std::filesystem::path& path) {
  return parse_as<nlohmann::ordered_json>(
      read_finite(path),
      path.string(),
      kMostDepth);
}

}  // namespace roofline
