// The grids of GGML's I-types: which combinations of magnitudes there are.
// Facts of the format (ggml-common.h), held as small places instead of values:
// eight of two bits, or four of three bits in a nibble each, lowest first.
#pragma once

#include <array>
#include <cstdint>

namespace roofline::blocks {

extern const std::array<std::uint16_t, 256> kIq2XxsGrid;
extern const std::array<std::uint16_t, 512> kIq2XsGrid;
extern const std::array<std::uint16_t, 1024> kIq2SGrid;
extern const std::array<std::uint16_t, 256> kIq3XxsGrid;
extern const std::array<std::uint16_t, 512> kIq3SGrid;
/// Ternary: place 0, 1, 2 is −1, 0, 1.
extern const std::array<std::uint16_t, 2048> kIq1SGrid;

}  // namespace roofline::blocks
