// `roofline memory --train METHOD --measure`: trains two steps on random tokens
// and prints what was predicted beside what they took.
#pragma once

#include "roofline/plan/memory.h"
#include "roofline/plan/planned_model.h"

namespace roofline::cli {

/// Runs `question`; a model without weights here is trained from random ones.
/// Returns an exit code. Throws UnsupportedError for a model that can't be
/// trained, UserError when there is no room for random weights.
int run_measured_training(
    const PlannedModel& model,
    const TrainingQuestion& question,
    bool json);

}  // namespace roofline::cli
