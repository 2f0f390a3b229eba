// Metadata of a GGUF file from a spec: sizes, attention, rope, mixtures,
// scales.
#pragma once

#include <nlohmann/json.hpp>

#include "roofline/spec/families.h"
#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/gguf_architectures.h"
#include "roofline/weights/convert/gguf_model.h"

namespace roofline {

/// config: where the rope scaling is described. Without tensors; the rope
/// factors are there. Throws UnsupportedError for what the keys can't say.
GgufModel describe_gguf_metadata(
    const ModelSpec& spec,
    const nlohmann::json& config,
    const Family& family,
    const GgufArchitecture& architecture);

/// Throws UnsupportedError: this model can't be a GGUF file, and what to do.
[[noreturn]] void refuse_gguf(const std::string& why);

}  // namespace roofline
