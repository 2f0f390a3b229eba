// Factors that a model has beside its weights and a GGUF file has in them.
#pragma once

#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// The factors on one of our tensors: one for all its values, or one for each
/// row; empty: none. name: without ".bias"; layer: of the tensor, nullptr for
/// one of the model.
std::vector<float> folded_factors(
    std::string_view name,
    bool bias,
    const ModelSpec& spec,
    const LayerSpec* layer);

/// The model whose weights have its factors in them.
ModelSpec without_factors(ModelSpec spec);

}  // namespace roofline
