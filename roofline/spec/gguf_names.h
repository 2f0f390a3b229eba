// What GGUF files call our tensors: the rows that lead from their names to ours
// (tensor_name_rows.h and its like), backwards.
#pragma once

#include <string>
#include <string_view>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// ours: a whole name without ".bias" ("final_norm"), or what stands behind
/// "layers.N." ("attention.q"); layer: that layer, nullptr without one.
/// architecture: "general.architecture" of the file. Without "blk.N." and
/// without an ending; "" where such files have no name for it.
std::string_view gguf_name(
    std::string_view ours,
    const LayerSpec* layer,
    std::string_view architecture);

/// The same with its ending: ".weight", ".bias", or what files of GGUF have
/// where a tensor is neither. name: as gguf_name() gives it.
std::string with_gguf_ending(std::string_view name, bool bias);

}  // namespace roofline
