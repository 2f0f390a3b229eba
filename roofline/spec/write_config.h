// The other way round: a config.json, as Hugging Face has it, from a ModelSpec
// that was read from GGUF metadata.
#pragma once

#include <nlohmann/json.hpp>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// gguf: the file's metadata, for the kind of rope scaling. Reads back what it
/// made and throws UnsupportedError where that would be another model.
nlohmann::json write_config(const ModelSpec& spec, const nlohmann::json& gguf);

/// Says in a config.json, its "text_config" included, what it leaves open, for
/// programs that don't know a family's defaults. A field that would make it
/// another model stays out. Throws what read_config() throws.
void write_absent_fields(nlohmann::json& config);

/// The config is one of this model: spec_agreement.h, ties too.
bool reads_as(const nlohmann::json& config, const ModelSpec& spec);

}  // namespace roofline
