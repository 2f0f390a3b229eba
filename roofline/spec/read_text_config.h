// Reads the fields of a language model as one family means them.
#pragma once

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Everything but "model_type", quantization and what nobody reads. Throws
/// CheckpointError for values that can't be, UnsupportedError for what isn't
/// known.
ModelSpec read_text_config(Fields& config, const Family& family);

}  // namespace roofline
