// `roofline memory --measure`: runs the model and prints what was predicted
// beside what it took.
#pragma once

#include "roofline/plan/memory.h"
#include "roofline/plan/planned_model.h"

namespace roofline::cli {

/// Loads the model and runs `question`. Returns an exit code. Throws UserError
/// for a model without weights here and for a cache that can't be run.
int run_measured(
    const PlannedModel& model,
    const InferenceQuestion& question,
    bool json);

}  // namespace roofline::cli
