// 16-bit and 8-bit floats to float32, without instruction-set extensions.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace roofline {

inline float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

/// Exact for every f16, subnormals, infinities and NaN included.
inline float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t rest = std::uint32_t{bits & 0x7fffu} << 13;
  if (rest >= 0x7c00u << 13) {  // infinity or NaN: all exponent bits set
    return std::bit_cast<float>(sign | 0x7f800000u | rest);
  }
  // Moves the exponent's bias from 15 to 127; this makes subnormals normal.
  constexpr float kRebias = 0x1p112f;
  return std::bit_cast<float>(
      sign |
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) * kRebias));
}

/// e4m3 (OCP's 8-bit float without infinities): bias 7, NaN at all ones.
inline float e4m3_to_float(std::uint8_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x80u} << 24;
  const std::uint32_t rest = std::uint32_t{bits & 0x7fu} << 20;
  if (rest == 0x7fu << 20) {
    return std::bit_cast<float>(sign | 0x7fc00000u);
  }
  // Moves the exponent's bias from 7 to 127; this makes subnormals normal.
  constexpr float kRebias = 0x1p120f;
  return std::bit_cast<float>(
      sign |
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) * kRebias));
}

inline std::uint16_t load_u16(const std::byte* bytes) {
  std::uint16_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

inline float half_at(const std::byte* bytes) {
  return f16_to_float(load_u16(bytes));
}

}  // namespace roofline
