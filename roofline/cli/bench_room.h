// Whether what is asked to be timed can run here at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "roofline/plan/planned_model.h"

namespace roofline::cli {

/// Throws UserError when so many tokens of so many sequences take more memory
/// than this machine has, whatever else runs. hint: what to ask for instead.
void check_room(
    const PlannedModel& model,
    std::int64_t tokens,
    int batch,
    const std::optional<WeightFormat>& format,
    const std::string& hint);

/// Throws UserError for a number of threads that only wait for each other.
void check_threads(int threads);

}  // namespace roofline::cli
