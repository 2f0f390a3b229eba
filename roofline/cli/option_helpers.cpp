#include "roofline/cli/option_helpers.h"

#include <string_view>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/cli/options.h"

namespace roofline::cli {

std::size_t choose(
    const char* option,
    const std::string& value,
    const std::vector<std::string>& names) {
  std::string list;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == value) {
      return i;
    }
    list += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  }
  fail<UserError>(
      fmt::format("{} can't be \"{}\"", option, value),
      did_you_mean(value, names),
      "It takes " + list);
}

void require_at_least(const char* option, int value, int least) {
  if (value < least) {
    fail<UserError>(
        fmt::format("{} can't be {}", option, value),
        "",
        fmt::format("It takes a number of at least {}", least));
  }
}

std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    const std::size_t known = std::string_view("ntr\"\\").find(next);
    if (text[i] != '\\' || next == '\0' || known == std::string_view::npos) {
      out += text[i];
      continue;
    }
    out += "\n\t\r\"\\"[known];
    ++i;
  }
  return out;
}

std::vector<std::string> unescape_all(const std::vector<std::string>& texts) {
  std::vector<std::string> out;
  for (const std::string& text : texts) {
    out.push_back(unescape(text));
  }
  return out;
}

}  // namespace roofline::cli
