// The guide's statements about memory, as claims to be checked.
#pragma once

#include <span>

#include "roofline/plan/claims.h"

namespace roofline::cli {

/// In the guide's order: its sections 2, 3, 6 and 7.
std::span<const Claim> guide_claims();

}  // namespace roofline::cli
