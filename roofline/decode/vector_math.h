// Passes over a whole row of logits, written so that any compiler turns them
// into vector code at the baseline instruction set. The exponential is our own,
// so that the same logits and seed give the same token with every C library.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace roofline {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Below this the exponential is taken as 0 (f32 would turn subnormal).
constexpr float kExpFloor = -87.0f;

/// e^x for x <= 0, relative error below 3e-7; 0 below kExpFloor.
inline float exp_nonpositive(float x) {
  // Masks rather than choices: GCC makes a branch of a choice between floats,
  // and no vector code.
  const auto keep = -static_cast<std::int32_t>(x > kExpFloor);
  const float clamped = std::bit_cast<float>(
      (std::bit_cast<std::int32_t>(x) & keep) |
      (std::bit_cast<std::int32_t>(kExpFloor) & ~keep));
  // Cody and Waite: x = n·ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts.
  const auto n = static_cast<std::int32_t>(clamped * 1.44269504f - 0.5f);
  const auto steps = static_cast<float>(n);
  const float r = (clamped - steps * 0.693359375f) - steps * -2.12194440e-4f;
  // Taylor to degree 7: the rest is below 2⁻²⁷ on this range.
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const float power = std::bit_cast<float>((n + 127) << 23);
  return std::bit_cast<float>(std::bit_cast<std::int32_t>(p * power) & keep);
}

/// 1 / temperature, finite however low the temperature is.
inline float sharpness(float temperature) {
  constexpr float kMost = 1e30f;
  return temperature > 1.0f / kMost ? 1.0f / temperature : kMost;
}

/// The largest value; −inf for an empty row. NaN must have been ruled out.
float max_of(std::span<const float> values);

/// Index of the largest value, the first one where several are equal.
std::size_t argmax_of(std::span<const float> values);

/// Index of the first NaN or +inf, or values.size() when there is none.
std::size_t first_invalid(std::span<const float> values);

/// Σ e^(value − max).
double exp_sum(std::span<const float> values, float max);

}  // namespace roofline
