// Rows of a packed matrix as an MLX op on the CPU: the embedding lookup of
// graphs that are built op by op.
#pragma once

#include <memory>

#include <mlx/array.h>
#include <mlx/utils.h>

#include "roofline/kernels/packed_matrix.h"

namespace roofline {

namespace mx = mlx::core;

/// ids: [tokens] int32, each in [0, rows); the result is [tokens, cols]
/// float32. keep_alive owns w's bytes. The stream must be a CPU's.
mx::array packed_rows(
    const mx::array& ids,
    const PackedMatrix& w,
    std::shared_ptr<const void> keep_alive,
    mx::StreamOrDevice s = {});

}  // namespace roofline
