// Arithmetic on sizes that a file claims: nullopt instead of an overflow.
#pragma once

#include <cstdint>
#include <optional>

namespace roofline {

inline std::optional<std::uint64_t> checked_add(
    std::uint64_t a,
    std::uint64_t b) {
  std::uint64_t out = 0;
  if (__builtin_add_overflow(a, b, &out)) {
    return std::nullopt;
  }
  return out;
}

inline std::optional<std::uint64_t> checked_mul(
    std::uint64_t a,
    std::uint64_t b) {
  std::uint64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) {
    return std::nullopt;
  }
  return out;
}

}  // namespace roofline
