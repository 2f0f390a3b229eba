#include "roofline/quantize/small_floats.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace roofline {

namespace {

/// Values of `mantissa` bits with an exponent of this bias, from code 0 on.
template <std::size_t N>
std::array<float, N> table(int mantissa, int bias) {
  std::array<float, N> values{};
  for (std::size_t code = 0; code < N; ++code) {
    const auto exponent = static_cast<int>(code >> mantissa);
    const auto steps =
        static_cast<float>(code & ((std::size_t{1} << mantissa) - 1));
    const float part = std::ldexp(steps, -mantissa);
    values[code] = exponent == 0 ? std::ldexp(part, 1 - bias)
                                 : std::ldexp(1.0f + part, exponent - bias);
  }
  return values;
}

}  // namespace

std::span<const float> e2m1_values() {
  static const auto kValues = table<8>(1, 1);
  return kValues;
}

std::span<const float> e4m3_values() {
  static const auto kValues = table<127>(3, 7);
  return kValues;
}

std::uint8_t nearest_index(std::span<const float> values, float wanted) {
  const auto above = std::lower_bound(values.begin(), values.end(), wanted);
  if (above == values.begin()) {
    return 0;
  }
  if (above == values.end()) {
    return static_cast<std::uint8_t>(values.size() - 1);
  }
  const auto index = above - values.begin();
  const float up = *above - wanted;
  const float down = wanted - *(above - 1);
  const bool take_upper = up < down || (up == down && index % 2 == 0);
  return static_cast<std::uint8_t>(take_upper ? index : index - 1);
}

float e8m0_value(std::uint8_t byte) {
  return std::ldexp(1.0f, static_cast<int>(byte) - 127);
}

std::uint8_t e8m0_above(float wanted) {
  if (!(wanted > 0)) {
    return 0;
  }
  int exponent = 0;
  const float part = std::frexp(wanted, &exponent);  // in [0.5, 1)
  const int power = part == 0.5f ? exponent - 1 : exponent;
  return static_cast<std::uint8_t>(std::clamp(power + 127, 0, 254));
}

}  // namespace roofline
