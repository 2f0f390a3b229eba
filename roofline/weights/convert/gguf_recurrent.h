// What a GGUF file says of recurrent layers: sizes in its metadata, and how its
// tensors are made of ours.
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

/// Names (without the architecture) and values; empty for a model without
/// recurrent layers.
std::vector<std::pair<std::string, GgufValue>> gguf_recurrent_metadata(
    const ModelSpec& spec,
    const GgufArchitecture& architecture);

/// The file's tensors that one of ours becomes, names without "blk.N.": two
/// where a matrix has its gates' rows among others. ours: the whole name; rest:
/// what stands behind "recurrent.", without ".bias". Empty where such files
/// have no name for it.
std::vector<GgufSource> gguf_recurrent_sources(
    const std::string& ours,
    std::string_view rest,
    const RecurrentSpec& recurrent,
    const GgufArchitecture& architecture);

/// Rows of value heads of `dims` each, behind `before` other rows: which lie
/// key head by key head here, for each of the file's, where they take turns.
std::vector<std::int64_t> heads_in_turns(
    const RecurrentSpec& recurrent,
    std::int64_t before,
    std::int64_t dims);

}  // namespace roofline
