// Division of whole numbers that aren't negative, rounded up.
#pragma once

#include <concepts>
#include <type_traits>

namespace roofline {

template <std::integral T>
constexpr T ceil_div(T a, std::type_identity_t<T> b) {
  return (a + b - 1) / b;
}

/// The least multiple that isn't below the value.
template <std::integral T>
constexpr T round_up(T value, std::type_identity_t<T> multiple) {
  return ceil_div(value, multiple) * multiple;
}

}  // namespace roofline
