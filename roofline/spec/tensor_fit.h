// Which names of a checkpoint's tensors a spec explains, and which tensors it
// asks for that aren't there: what sets a family that isn't known apart from
// one that is. Names only; shapes aren't compared.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/families.h"
#include "roofline/spec/tensor_names.h"

namespace roofline {

/// "model.layers.3.mlp.up_proj.weight" → "model.layers.*.mlp.up_proj.weight"
std::string tensor_kind(std::string_view name);

/// How many layers names with "layers.N." or the like speak of; 0: none does.
int layers_named(std::span<const std::string> tensors);

/// Kinds of tensors, each once, sorted.
struct TensorFit {
  /// No rule knows them, or they aren't asked for.
  std::vector<std::string> unknown;
  std::vector<std::string> missing;  ///< that the spec asks for
};

/// tensors: names of that style, ".weight" included. family: whose names are
/// meant.
TensorFit fit_tensors(
    ModelSpec spec,
    const Family& family,
    NameStyle style,
    std::span<const std::string> tensors);

}  // namespace roofline
