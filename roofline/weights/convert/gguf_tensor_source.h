// Tensors of a GGUF file under Hugging Face's names, in that layout's order and
// with its values; of families whose folders hold matrices turned, as MLX has
// them.
#pragma once

#include <memory>
#include <string_view>
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

/// How many heads' rows a file of one family has with the dims that rotate
/// together side by side, where a folder of the other has them in halves; 0:
/// the rows lie alike. name: ours, in its layer ("attention.q").
int paired_heads(
    const AttentionSpec& attention,
    std::string_view name,
    const Family& file,
    const Family& folder);

}  // namespace roofline
