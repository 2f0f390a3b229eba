// Checks that a text is well-formed markup, as far as our writers go: tags
// balanced, attributes quoted, "<" and "&" only where they belong.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace roofline::testing {

/// What is wrong first, or an empty text. `lone`: tags that are never closed.
inline std::string markup_fault(
    std::string_view text,
    const std::set<std::string>& lone = {}) {
  std::vector<std::string> open;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '&') {
      const std::size_t end = text.find(';', i);
      if (end == std::string_view::npos || end - i > 6) {
        return "a bare & at byte " + std::to_string(i);
      }
    }
    if (text[i] != '<') {
      continue;
    }
    const std::size_t end = text.find('>', i);
    if (end == std::string_view::npos) {
      return "a tag without an end";
    }
    std::string tag(text.substr(i + 1, end - i - 1));
    i = end;
    if (tag.find('<') != std::string::npos) {
      return "a bare < before " + tag;
    }
    const bool closes = tag[0] == '/';
    const bool closed = tag.back() == '/';
    std::size_t quotes = 0;
    for (char c : tag) {
      quotes += c == '"';
    }
    if (quotes % 2 != 0) {
      return "an open quote in " + tag;
    }
    const std::string name =
        tag.substr(closes ? 1 : 0, tag.find_first_of(" /", 1) - closes);
    if (closes) {
      if (open.empty() || open.back() != name) {
        return "</" + name + "> closes nothing";
      }
      open.pop_back();
    } else if (!closed && tag[0] != '!' && !lone.contains(name)) {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> stays open";
}

inline std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

}  // namespace roofline::testing
