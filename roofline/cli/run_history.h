// `roofline memory --history`: earlier runs, predicted beside measured.
#pragma once

#include <optional>
#include <string>

#include "roofline/plan/history.h"

namespace roofline::cli {

void tell_history(bool json);

/// This machine's name in the history.
std::string host_name();

/// From the latest runs on this machine, those of `model` before others; see
/// calibrate(). Absent with ROOFLINE_HISTORY=off too.
std::optional<Calibration> calibration_here(const std::string& model = {});

/// What a model's runs are kept under: the name of its file or folder.
std::string history_name(const PlannedModel& model);

}  // namespace roofline::cli
