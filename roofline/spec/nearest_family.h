// What to say of a model that no row knows: which family comes nearest, and
// what of the config and the tensors that family doesn't explain. In: the
// config or metadata and, where there are any, the names of the tensors.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace roofline {

/// Throws UnsupportedError: the nearest family, the fields and tensors that it
/// doesn't explain, those that it would need, and the list of families.
/// tensors: as the checkpoint names them; empty: they aren't compared.
[[noreturn]] void refuse_unknown_family(
    const nlohmann::json& config,
    const std::string& model_type,
    std::span<const std::string> tensors,
    const std::vector<std::string>& known);

/// The same of a GGUF file's metadata.
[[noreturn]] void refuse_unknown_architecture(
    const nlohmann::json& metadata,
    const std::string& architecture,
    std::span<const std::string> tensors);

}  // namespace roofline
