// The machine that `roofline recommend` speaks of: this one, measured, or a
// chip by its name, with what is published of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "roofline/plan/recommend.h"

namespace roofline::cli {

/// This machine, measured (bandwidth and peak are kept for the next time); its
/// memory as told.
Hardware detected_hardware(std::optional<std::uint64_t> ram);

/// Throws UserError with the nearest names for an unknown chip.
Hardware named_hardware(
    const std::string& name,
    std::optional<std::uint64_t> ram);

/// Prints all chips that are known.
void list_chips(bool json);

}  // namespace roofline::cli
