// How the kernels name a stored half float: its bits.
#pragma once

#include <cstdint>

#include "roofline/base/half.h"

namespace roofline {

using Half = std::uint16_t;

}  // namespace roofline
