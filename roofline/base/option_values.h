// Values as people write them in options and in files of settings: numbers in
// decimal digits, and lists with commas between. What else the standard library
// would take (0x10, 010 as eight, inf, nan, spaces in front) is refused: it is
// a slip of the hand far more often than it is meant.
#pragma once

#include <charconv>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace roofline {

/// "-3", "+12", "010": a sign or none, and digits.
bool is_whole_number(std::string_view text);
/// The same with a fraction and a power of ten or without: "0.5", "5.",
/// ".5e-3".
bool is_decimal_number(std::string_view text);

/// nullopt where the text, all of it, isn't such a number, or is none that T
/// can hold. A number closer to zero than T goes becomes zero.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  if constexpr (std::is_floating_point_v<T>) {
    if (!is_decimal_number(text)) {
      return std::nullopt;
    }
    // libc++ has no from_chars for floats.
    const double value = std::strtod(std::string(text).c_str(), nullptr);
    constexpr double kMost = std::numeric_limits<T>::max();
    return value >= -kMost && value <= kMost
               ? std::optional<T>(static_cast<T>(value))
               : std::nullopt;
  } else {
    if (!is_whole_number(text)) {
      return std::nullopt;
    }
    text.remove_prefix(text.front() == '+' ? 1 : 0);
    T value{};
    const auto end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    return error == std::errc() && at == end ? std::optional<T>(value)
                                             : std::nullopt;
  }
}

/// "a,b" → its entries; "" → none. Throws UserError naming `option` where an
/// entry is empty.
std::vector<std::string> split_list(
    std::string_view text,
    std::string_view option);

}  // namespace roofline
