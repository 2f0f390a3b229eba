// What `roofline memory` prints, each as text for people or as JSON.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "roofline/plan/memory.h"

namespace roofline::cli {

/// The memory that a model may take, and of what.
struct MemoryBudget {
  std::string name;  ///< "this machine", "a Mac of 16.0 GiB"
  std::uint64_t ram_bytes = 0;
  std::uint64_t bytes = 0;
};

/// Parts with bytes and share, bars, the total and the room left; of inference
/// (`question`) also what files hold and what a token adds.
void tell_prediction(
    const PlannedModel& model,
    const std::string& settings,
    const MemoryPrediction& prediction,
    const MemoryBudget& budget,
    const std::optional<InferenceQuestion>& question,
    bool json);

/// The largest models of the catalogue that fit, each in its best format.
void tell_models_that_fit(
    const InferenceQuestion& wish,
    const MemoryBudget& budget,
    bool json);

/// Throws UserError: by how much even the smallest way to run the model is over
/// the budget.
[[noreturn]] void fail_to_fit(
    const PlannedModel& model,
    const InferenceQuestion& question,
    const MemoryBudget& budget);

/// The settings with which a model fits, best quality first. Throws UserError
/// when there are none.
void tell_settings(
    const PlannedModel& model,
    const InferenceQuestion& wish,
    const MemoryBudget& budget,
    bool json);

/// The guide's tables, checked.
void tell_claims(bool json);

/// Stacked memory over context, up to `context` tokens.
void plot_contexts(
    const PlannedModel& model,
    InferenceQuestion question,
    const MemoryBudget& budget,
    const std::filesystem::path& path);

}  // namespace roofline::cli
