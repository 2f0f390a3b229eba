// Keeps a run's pair, predicted and measured, in the history of this machine.
#pragma once

#include "roofline/cli/loaded_model.h"

namespace roofline::cli {

/// Call it when the answer is complete. Never throws; a run that wasn't
/// ordinary (cut short in its prompt, with --exact or a draft model) isn't
/// kept.
void keep_answer(
    const LoadedModel& loaded,
    const GenerateStats& stats,
    const GenerateOptions& options) noexcept;

}  // namespace roofline::cli
