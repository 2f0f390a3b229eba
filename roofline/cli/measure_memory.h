// `roofline memory --measure`: runs the model and prints what was predicted
// beside what it took.
#pragma once

#include "roofline/plan/measure.h"
#include "roofline/plan/memory.h"
#include "roofline/plan/planned_model.h"

namespace roofline::cli {

/// Loads the model and runs `question`; a model without weights here runs with
/// random ones. Returns an exit code. Throws UserError for a cache that can't
/// be run, UnsupportedError for a model that can't.
int run_measured(
    const PlannedModel& model,
    const InferenceQuestion& question,
    const MeasureOptions& options,
    bool json);

}  // namespace roofline::cli
