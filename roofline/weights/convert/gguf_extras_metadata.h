// What a GGUF file says of mechanisms that few families have: keys and values
// of an earlier layer, embeddings of each layer's own, several residual
// streams, sparse gates.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "roofline/spec/families.h"
#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/gguf_model.h"

namespace roofline {

/// Names (without the architecture) and values; empty for most models.
std::vector<std::pair<std::string, GgufValue>> gguf_extras_metadata(
    const ModelSpec& spec,
    const Family& family);

}  // namespace roofline
