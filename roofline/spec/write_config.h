// The other way round: a config.json, as Hugging Face has it, from a ModelSpec
// that was read from GGUF metadata.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// GGUF's names of the architectures that are converted to and from Hugging
/// Face's layout, sorted. More can be read.
std::vector<std::string> converted_gguf_architectures();

/// gguf: the file's metadata, for the kind of rope scaling. Reads back what it
/// made and throws UnsupportedError where that would be another model.
nlohmann::json write_config(const ModelSpec& spec, const nlohmann::json& gguf);

}  // namespace roofline
