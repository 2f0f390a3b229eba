// The layers that the metadata of a GGUF file describes: sizes, norms, windows,
// positions, feed-forward.
#pragma once

#include <optional>
#include <string_view>

#include "roofline/spec/gguf_keys.h"
#include "roofline/spec/model_spec.h"
#include "roofline/spec/read_config.h"

namespace roofline {

/// Fills spec.dim, context_tokens, learned_positions, layers and final_norm.
void read_gguf_layers(
    GgufKeys& keys,
    const Family& family,
    const GgufRopeFactors& tensors,
    ModelSpec& spec);

/// A cap on scores or logits: zero means none, absent the family's own.
std::optional<float> read_gguf_softcap(
    GgufKeys& keys,
    std::string_view name,
    bool readable,
    std::optional<float> other);

}  // namespace roofline
