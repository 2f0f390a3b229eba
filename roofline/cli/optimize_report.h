// What a search for settings found, as people and programs read it.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "roofline/plan/optimize.h"
#include "roofline/report/chart.h"

namespace roofline::cli {

/// The Pareto table, the choice and why. measured: else the columns are
/// predictions.
std::string optimize_text(const OptimizeResult& result, bool measured);
nlohmann::ordered_json optimize_json(
    const OptimizeResult& result,
    bool measured);
/// Seconds over memory, the front connected.
Chart optimize_chart(
    const OptimizeResult& result,
    bool measured,
    const std::string& model);

}  // namespace roofline::cli
