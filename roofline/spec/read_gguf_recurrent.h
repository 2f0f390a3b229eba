// Reads the recurrent layers of GGUF metadata.
#pragma once

#include <vector>

#include "roofline/spec/gguf_keys.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Gives the layers of `spec`, which all have attention and a feed-forward
/// part so far, the parts that the family's rule and the numbers for each
/// layer say: one without key-value heads has no attention. What only the
/// tensors tell is settled with them. whole: the layers with all their numbers,
/// before any became a mixture.
void read_gguf_recurrent(
    GgufKeys& keys,
    const Family& family,
    const std::vector<LayerSpec>& whole,
    ModelSpec& spec);

}  // namespace roofline
