// The tables of the small-float modes: e2m1 and e4m3 values, and scales that
// are powers of two (e8m0) or e4m3 values. OCP Microscaling Formats v1.0.
#pragma once

#include <cstdint>
#include <span>

namespace roofline {

/// The eight values of e2m1 that aren't negative: 0, 0.5, … 6.
std::span<const float> e2m1_values();
/// The 127 finite values of e4m3 that aren't negative: 0, 2^-9, … 448.
std::span<const float> e4m3_values();

/// Index of the value nearest to `wanted`, which isn't negative; of two equally
/// near ones the even index.
std::uint8_t nearest_index(std::span<const float> values, float wanted);

/// 2^(byte - 127).
float e8m0_value(std::uint8_t byte);
/// The byte of the least power of two that isn't below `wanted`.
std::uint8_t e8m0_above(float wanted);

}  // namespace roofline
