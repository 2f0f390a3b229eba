#include "roofline/base/option_values.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

/// Takes digits off the front; says how many.
std::size_t take_digits(std::string_view& text) {
  const std::size_t end = text.find_first_not_of("0123456789");
  const std::size_t count = end == text.npos ? text.size() : end;
  text.remove_prefix(count);
  return count;
}

void take_sign(std::string_view& text) {
  if (text.starts_with('-') || text.starts_with('+')) {
    text.remove_prefix(1);
  }
}

}  // namespace

bool is_whole_number(std::string_view text) {
  take_sign(text);
  return take_digits(text) > 0 && text.empty();
}

bool is_decimal_number(std::string_view text) {
  take_sign(text);
  std::size_t digits = take_digits(text);
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    digits += take_digits(text);
  }
  if (digits == 0) {
    return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    return is_whole_number(text);
  }
  return text.empty();
}

std::vector<std::string> split_list(
    std::string_view text,
    std::string_view option) {
  std::vector<std::string> entries;
  if (text.empty()) {
    return entries;
  }
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    if (comma == 0 || rest.empty()) {
      fail<UserError>(
          fmt::format("{} can't be \"{}\"", option, text),
          "An entry of the list is empty",
          "Put one comma between two entries, and none at the ends");
    }
    entries.emplace_back(rest.substr(0, comma));
    if (comma == rest.npos) {
      return entries;
    }
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace roofline
