// Tensors of a GGUF file under Hugging Face's names, in that layout's order and
// with its values; of families whose folders hold matrices turned, as MLX has
// them.
#pragma once

#include <memory>
#include <vector>

#include "roofline/spec/families.h"
#include "roofline/weights/changed_rows.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/rows.h"

namespace roofline {

/// family: whose folder it becomes. Throws UnsupportedError for a tensor that
/// has no name there.
std::vector<RowTensor> make_hf_tensors(
    const std::shared_ptr<const Checkpoint>& checkpoint,
    const Family& family,
    const std::shared_ptr<const WeightChanges>& changes = nullptr);

}  // namespace roofline
