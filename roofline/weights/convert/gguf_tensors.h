// The tensors of a GGUF file and what of ours each is made of.
#pragma once

#include <vector>

#include "roofline/spec/families.h"
#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/gguf_architectures.h"
#include "roofline/weights/convert/gguf_model.h"

namespace roofline {

/// Throws UnsupportedError for a tensor that the architecture has no name for.
std::vector<GgufSource> list_gguf_tensors(
    const ModelSpec& spec,
    const Family& family,
    const GgufArchitecture& architecture);

}  // namespace roofline
