// What only some architectures add to their layers (see read_extras.h), from
// the metadata of a GGUF file.
#pragma once

#include "roofline/spec/gguf_keys.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Adds to a spec whose layers have their windows. What only the tensors tell
/// is settled by them.
void read_gguf_extras(GgufKeys& keys, const Family& family, ModelSpec& spec);

}  // namespace roofline
