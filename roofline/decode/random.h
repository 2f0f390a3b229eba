// Numbers by counting: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel
// random numbers: as easy as 1, 2, 3", 2011). A draw is a pure function of
// seed and step, so it depends neither on threads nor on how many other draws
// were made before it.
#pragma once

#include <array>
#include <cstdint>

#include "roofline/base/gumbel_noise.h"

namespace roofline {

/// One Philox4x32-10 block: ten rounds over the counter under the key.
std::array<std::uint32_t, 4> philox(
    std::array<std::uint32_t, 4> counter,
    std::array<std::uint32_t, 2> key);

/// Uniform in [0, 1), a multiple of 2⁻⁵³: whether XTC acts in a step.
double xtc_draw(std::uint64_t seed, std::uint64_t step);

/// Of the step's draw of a token.
GumbelNoise token_noise(std::uint64_t seed, std::uint64_t step);

/// A seed from the system's entropy, below 2³² so that people can retype it.
std::uint64_t system_seed();

}  // namespace roofline
