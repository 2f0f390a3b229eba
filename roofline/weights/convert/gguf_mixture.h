// What a GGUF file says of a mixture of experts: sizes in its metadata, and its
// names for the mixture's tensors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/gguf_model.h"

namespace roofline {

/// Architectures with mixtures that can be written.
std::vector<std::string> gguf_mixture_architectures();

/// Names (without the architecture) and numbers; empty for a dense model.
std::vector<std::pair<std::string, std::int64_t>> gguf_mixture_sizes(
    const ModelSpec& spec);

/// The file's tensors that one of ours becomes, names without "blk.N.": two
/// where gate and up lie in turns. ours: the whole name; rest: without
/// "layers.N." and ".bias". Empty when it is none of a mixture's.
std::vector<GgufSource> gguf_mixture_sources(
    const std::string& ours,
    std::string_view rest,
    const LayerSpec& layer);

}  // namespace roofline
