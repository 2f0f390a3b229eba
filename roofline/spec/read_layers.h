// Reads the layers of a config.json: each layer's norms, attention,
// window, positions and feed-forward, patterns expanded. What stands around
// the layers is read in read_config.cpp.
#pragma once

#include <optional>

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"
#include "roofline/spec/read_sizes.h"

namespace roofline {

/// Fills spec.layers and spec.final_norm.
void read_layers(
    Fields& config,
    const Family& family,
    const Sizes& sizes,
    ModelSpec& spec);

/// The activation that a field names; `absent` where it names none.
Activation read_activation(
    Fields& config,
    const Family& family,
    std::string_view field,
    Activation absent);

/// A cap on scores or logits: null means none, absent the family's own.
std::optional<float> read_softcap(
    Fields& config,
    std::string_view name,
    bool readable,
    std::optional<float> other);

}  // namespace roofline
