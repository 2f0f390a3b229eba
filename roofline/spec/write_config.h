// The other way round: a config.json, as Hugging Face has it, from a ModelSpec
// that was read from GGUF metadata.
#pragma once

#include <nlohmann/json.hpp>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// gguf: the file's metadata, for the kind of rope scaling. Reads back what it
/// made and throws UnsupportedError where that would be another model.
nlohmann::json write_config(const ModelSpec& spec, const nlohmann::json& gguf);

}  // namespace roofline
