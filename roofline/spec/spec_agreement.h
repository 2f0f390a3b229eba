// Compares a model with what a config.json or GGUF metadata made from it would
// be read as, so that no file is written that means another model.
#pragma once

#include <optional>
#include <string>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// The first thing in which `read` isn't `wanted`, in words; nullopt: nothing.
/// What a file says by its tensors (biases, ties, plus-one norms) or in another
/// order (rope layout) is left out.
std::optional<std::string> spec_difference(
    const ModelSpec& wanted,
    const ModelSpec& read);

/// The same of what files say by their tensors: where there are biases.
std::optional<std::string> bias_difference(
    const ModelSpec& wanted,
    const ModelSpec& read);

}  // namespace roofline
