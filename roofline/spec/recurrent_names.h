// Names of the tensors of recurrent layers in checkpoints, and of what stands
// around them in families that have such layers.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/spec/tensor_names.h"

namespace roofline {

/// Whether files of the model use the names below: its layers may all be of the
/// other kind in a family that has both.
bool has_recurrent_names(const ModelSpec& spec);

/// Maps one name behind a layer's number, without ".weight" or ".bias", to ours
/// behind "layers.N."; nullopt where it is none of these.
std::optional<std::vector<NamedRows>> map_recurrent_name(
    std::string_view rest,
    NameStyle style,
    const LayerSpec& layer);

/// Hugging Face's name for ours behind "layers.N.recurrent.", within the part
/// of the layer; "" where it has none. by_key_head: the rows of the input lie
/// so in the family's folders.
std::string_view hf_recurrent_name(
    std::string_view ours,
    RecurrentKind kind,
    bool by_key_head);

/// GGUF's name for ours behind "layers.N.recurrent."; "" where it has none.
std::string_view gguf_recurrent_name(std::string_view ours, RecurrentKind kind);

}  // namespace roofline
