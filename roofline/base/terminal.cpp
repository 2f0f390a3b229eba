#include "roofline/base/terminal.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

namespace roofline {

namespace {

// Narrower ones can't be written for; it is rather their lines that wrap.
constexpr int kFewest = 20;
constexpr int kMost = 1000;

}  // namespace

std::optional<int> terminal_columns(int descriptor) {
  struct winsize size {};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return std::clamp(static_cast<int>(size.ws_col), kFewest, kMost);
  }
  const char* set = std::getenv("COLUMNS");
  const std::string_view text = set == nullptr ? "" : set;
  int columns = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), columns);
  const bool number = error == std::errc() && end == text.data() + text.size();
  return number && columns > 0
             ? std::optional(std::clamp(columns, kFewest, kMost))
             : std::nullopt;
}

}  // namespace roofline
