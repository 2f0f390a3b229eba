// How wide the terminal is that a descriptor writes to.
#pragma once

#include <optional>

namespace roofline {

/// Columns of the terminal behind `descriptor`; where that is none, what the
/// environment's COLUMNS says; absent: neither. At least 20.
std::optional<int> terminal_columns(int descriptor);

}  // namespace roofline
