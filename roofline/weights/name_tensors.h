// From a checkpoint's tensors to Roofline's: maps names, slices packed
// matrices by rows, and checks the result against what the spec asks for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/rearrange.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// What a checkpoint says about a head of its own.
enum class TieFlag {
  decided,     ///< spec.tied_embeddings is right as it is
  by_tensors,  ///< nothing was said: tied when there is no head
};

/// sources: tensors under the checkpoint's names (".weight" included).
/// Sets spec.tied_embeddings and returns the tensors sorted by our names.
/// label: the file or folder, for errors. config: what errors call the source
/// of the spec, e.g. "config.json". made: keeps the bytes of what had to be
/// copied, and must outlive the tensors. Throws CheckpointError for a tensor
/// that is missing, unknown, claimed twice, or of a shape that the spec
/// contradicts.
std::vector<Tensor> name_tensors(
    std::vector<Tensor> sources,
    NameStyle style,
    TieFlag tie,
    ModelSpec& spec,
    const std::string& label,
    std::string_view config,
    MadeBytes& made);

/// "model.norm.weight" → "model.norm"; other names stay.
std::string_view without_weight(std::string_view name);

/// Whether a model of this spec has a place for a tensor of Hugging Face's or
/// MLX's naming.
bool is_asked_for(const std::string& name, const ModelSpec& spec);

}  // namespace roofline
