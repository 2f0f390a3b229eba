// Adapters of a mixture's experts: as mlx-lm has them, one stack for all, or as
// PEFT has them, one pair of matrices for each.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "roofline/model/adapter.h"

namespace roofline {

/// "layers.3.feed_forward.experts.7.gate": 7. nullopt for other names.
std::optional<int> expert_of(const std::string& name);

/// The name of the stack that a matrix of experts belongs to, in whatever
/// layout its checkpoint has: "layers.3.feed_forward.experts.gate".
std::string stack_of(const std::string& name);

/// The parameter of experts that PEFT wrapped as this module: "….experts", or
/// "….experts.base_layer" for the inner one of two, in whatever order they were
/// named. columns: of its a, rows: of its b, by which it is told (gate and up
/// are one). nullopt for other modules.
std::optional<std::string> expert_parameter(
    const std::string& module,
    int columns,
    int rows,
    const ModelSpec& spec);

/// Adds such a parameter's matrices: a [experts · rank, in]; b [out, rank ·
/// experts], experts next to each other. Throws CheckpointError when they don't
/// fit the model.
void add_expert_parameter(
    Adapter& adapter,
    const std::string& module,
    const mx::array& a,
    const mx::array& b,
    const ModelSpec& spec,
    const std::filesystem::path& folder);

/// Puts the matrices of single experts together, in the place of all of them;
/// an expert without one has zeros. Throws CheckpointError for an expert that
/// the model doesn't have, or matrices that differ in shape, UnsupportedError
/// for DoRA.
void stack_experts(
    Adapter& adapter,
    const ModelSpec& spec,
    const std::filesystem::path& folder);

}  // namespace roofline
