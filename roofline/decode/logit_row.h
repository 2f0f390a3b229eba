// One row of logits, out of the arrays that a decoder hands out.
#pragma once

#include <cstddef>
#include <vector>

#include <mlx/array.h>

namespace roofline {

namespace mx = mlx::core;

/// Evaluates logits [rows, vocab] and copies one row out. May replace `logits`
/// by a copy that lies row by row.
void read_logit_row(
    mx::array& logits,
    std::size_t row,
    std::vector<float>& out);

}  // namespace roofline
