// Units of memory.
#pragma once

#include <cstdint>

namespace roofline {

/// Bytes in one GiB.
inline constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

}  // namespace roofline
