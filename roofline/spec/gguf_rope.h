// Reads the rotary positions of GGUF metadata, as llama.cpp takes them.
#pragma once

#include <cstdint>

#include "roofline/spec/gguf_keys.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/read_rope.h"

namespace roofline {

/// Throws CheckpointError or UnsupportedError, naming the key.
LayerRopes read_gguf_ropes(
    GgufKeys& keys,
    const Family& family,
    HeadDims head_dims,
    std::int64_t context_tokens,
    const GgufRopeFactors& tensors);

}  // namespace roofline
