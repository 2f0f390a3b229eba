// Names of the tensors of a mixture of experts, within a layer, in Hugging
// Face's, MLX's and GGUF's files: experts one by one or stacked, gate and up
// apart or packed.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/spec/tensor_names.h"

namespace roofline {

/// rest: what stands behind "layers.N." or "blk.N.", without ".weight" and
/// without ".bias", whose presence `bias` tells (the caller adds it again;
/// set to false where it was part of the name). nullopt when it is no name of a
/// mixture. family: its row says how stacked experts lie.
std::optional<std::vector<NamedRows>> map_mixture_name(
    std::string_view rest,
    NameStyle style,
    const LayerSpec& layer,
    std::string_view family,
    bool& bias);

/// GGUF's name for ours behind "layers.N.feed_forward."; "" where it has none.
std::string_view gguf_mixture_name(std::string_view ours);

}  // namespace roofline
