// What a GGUF file says of a mixture of experts: sizes in its metadata, and its
// names for the mixture's tensors.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/gguf_architectures.h"
#include "roofline/weights/convert/gguf_model.h"

namespace roofline {

/// Names (without the architecture) and values; empty for a dense model.
std::vector<std::pair<std::string, GgufValue>> gguf_mixture_metadata(
    const ModelSpec& spec,
    const GgufArchitecture& architecture);

/// The file's tensors that experts with gate and up in turns become, or their
/// biases, names without "blk.N.". ours: the whole name.
std::vector<GgufSource> gguf_packed_experts(
    const std::string& ours,
    const LayerSpec& layer);

}  // namespace roofline
