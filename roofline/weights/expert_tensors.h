// The matrices of a mixture's experts one by one, however a checkpoint stores
// them: stacked in one tensor or each in its own.
#pragma once

#include <string>
#include <vector>

#include "roofline/weights/checkpoint.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// Rows [begin, begin + rows) of a tensor, without a copy.
Tensor row_slice(const Tensor& tensor, std::int64_t begin, std::int64_t rows);

/// name: of the stack, "layers.3.feed_forward.experts.gate" (or its ".bias").
/// One tensor [rows, cols] for each expert, in order; empty when there is none.
/// Throws CheckpointError when some are missing.
std::vector<Tensor> expert_tensors(
    const Checkpoint& checkpoint,
    const std::string& name,
    int experts);

}  // namespace roofline
