#include "roofline/report/utf8_cells.h"

#include <algorithm>

#include "roofline/report/table.h"

namespace roofline {
namespace {

bool continues(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

/// Appends the wrapped lines of a text without line breaks.
void wrap_one(
    std::string_view text,
    int columns,
    std::vector<std::string>& out) {
  while (display_width(text) > columns) {
    std::string_view head = first_columns(text, columns);
    // A space just behind the head is a place to break as well.
    std::size_t end = text[head.size()] == ' ' ? head.size() : head.rfind(' ');
    const bool at_space = end != std::string_view::npos && end > 0;
    if (!at_space) {
      end = head.size();
    }
    std::string_view line = text.substr(0, end);
    while (!line.empty() && line.back() == ' ') {
      line.remove_suffix(1);
    }
    out.emplace_back(line);
    text.remove_prefix(end);
    while (at_space && !text.empty() && text.front() == ' ') {
      text.remove_prefix(1);
    }
  }
  out.emplace_back(text);
}

}  // namespace

std::size_t first_code_point(std::string_view text) {
  if (text.empty()) {
    return 0;
  }
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t wanted = lead >= 0xF0   ? 4
                             : lead >= 0xE0 ? 3
                             : lead >= 0xC0 ? 2
                                            : 1;
  std::size_t size = 1;
  while (size < wanted && size < text.size() && continues(text[size])) {
    ++size;
  }
  return size;
}

int display_width(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    text.remove_prefix(first_code_point(text));
    ++width;
  }
  return width;
}

std::string_view first_columns(std::string_view text, int columns) {
  std::size_t size = 0;
  for (int i = 0; i < columns && size < text.size(); ++i) {
    size += first_code_point(text.substr(size));
  }
  return text.substr(0, size);
}

std::vector<std::string> wrap_lines(std::string_view text, int columns) {
  std::vector<std::string> lines;
  columns = std::max(columns, 1);
  while (true) {
    const std::size_t end = text.find('\n');
    wrap_one(text.substr(0, end), columns, lines);
    if (end == std::string_view::npos) {
      return lines;
    }
    text.remove_prefix(end + 1);
  }
}

}  // namespace roofline
