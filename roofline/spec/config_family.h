// Which family's config.json tells of a model that was read from a GGUF file:
// there, some families share an architecture.
#pragma once

#include "roofline/spec/families.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Null where there is none.
const Family* config_family(const ModelSpec& spec);

}  // namespace roofline
