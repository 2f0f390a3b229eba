#include "roofline/weights/printable.h"

#include <cstdio>

namespace roofline {

namespace {

constexpr std::size_t kLongest = 120;

/// Length of the well-formed UTF-8 character at the start; 0 when there is
/// none or it is a control character.
std::size_t character(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return static_cast<unsigned char>(text[i]);
  };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    return first >= 0x20 && first != 0x7f ? 1 : 0;
  }
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) {
    return 0;
  }
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return 0;
    }
  }
  const unsigned char second = byte(1);
  const bool overlong =
      (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool outside =
      (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
  const bool c1_control = first == 0xc2 && second < 0xa0;
  return overlong || outside || c1_control ? 0 : size;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= kLongest) {
      return out + "…";
    }
    const std::size_t size = character(text);
    if (size > 0) {
      out += text.substr(0, size);
      text.remove_prefix(size);
      continue;
    }
    char escaped[5];
    std::snprintf(
        escaped,
        sizeof(escaped),
        "\\x%02x",
        static_cast<unsigned>(static_cast<unsigned char>(text[0])));
    out += escaped;
    text.remove_prefix(1);
  }
  return out;
}

}  // namespace roofline
