// `roofline memory --history`: earlier runs, predicted beside measured.
#pragma once

#include <optional>
#include <string>

#include "roofline/plan/history.h"

namespace roofline::cli {

void tell_history(bool json);

/// This machine's name in the history.
std::string host_name();

/// From the latest runs on this machine; see calibrate().
std::optional<Calibration> calibration_here();

}  // namespace roofline::cli
