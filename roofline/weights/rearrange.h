// Parts of tensors under new names. Rows that lie together stay views into the
// mapped file; what must be turned, gathered or stacked is copied.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/tensor_names.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// Bytes of tensors that lie in no file as they are. They stay where they are
/// while more are added.
using MadeBytes = std::vector<std::vector<std::byte>>;

/// The rows that `wanted` names; a vector's elements count as its rows. Not for
/// stacked ones. label, config: as for name_tensors. Throws CheckpointError
/// when the source is too small, UnsupportedError for a source that can't be
/// turned because it is packed.
Tensor take_rows(
    const Tensor& source,
    const NamedRows& wanted,
    MadeBytes& made,
    const std::string& label,
    std::string_view config);

/// Puts pieces of equal size and encoding under one another. Throws
/// CheckpointError when they differ.
Tensor stack_rows(
    const std::vector<const Tensor*>& pieces,
    const std::string& name,
    MadeBytes& made,
    const std::string& label);

}  // namespace roofline
