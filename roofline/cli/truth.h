// The line that ends every run: what it cost, and how far from this machine's
// roof it was. plan/roof.h computes it; this gathers what it needs.
#pragma once

#include <optional>

#include "roofline/cli/loaded_model.h"
#include "roofline/plan/roof.h"

namespace roofline::cli {

/// Call it when the answer is complete: the first call on a machine measures
/// its bandwidth.
TruthLine truth_of(
    const LoadedModel& loaded,
    const GenerateStats& stats,
    const std::optional<int>& max_kv_tokens);

}  // namespace roofline::cli
