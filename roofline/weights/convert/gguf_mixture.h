// What a GGUF file says of a mixture of experts: sizes in its metadata, and its
// names for the mixture's tensors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/gguf_architectures.h"
#include "roofline/weights/convert/gguf_model.h"

namespace roofline {

/// Names (without the architecture) and values; empty for a dense model. Every
/// layer has a feed-forward part.
std::vector<std::pair<std::string, GgufValue>> gguf_mixture_metadata(
    const ModelSpec& spec,
    const GgufArchitecture& architecture);

/// The file's tensors that one of ours becomes, names without "blk.N.": two
/// where gate and up lie in turns. ours: the whole name; rest: without
/// "layers.N." and ".bias". Empty when it is none of a mixture's.
std::vector<GgufSource> gguf_mixture_sources(
    const std::string& ours,
    std::string_view rest,
    const LayerSpec& layer);

}  // namespace roofline
