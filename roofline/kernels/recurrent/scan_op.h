// The scans as MLX ops on the CPU, for graphs that are built op by op.
#pragma once

#include <functional>
#include <vector>

#include <mlx/array.h>

namespace roofline {

namespace mx = mlx::core;

/// The same as other MLX ops, which the gradient is taken of.
using ScanOps =
    std::function<std::vector<mx::array>(const std::vector<mx::array>&)>;

/// inputs: x, steps, decay, b, c, memory (scan.h), float32. Returns y and the
/// memory after the last token. The default stream must be a CPU's.
std::vector<mx::array> mamba2_scan_op(
    const std::vector<mx::array>& inputs,
    ScanOps ops);

/// inputs: q, k, v, log_decay, beta, memory.
std::vector<mx::array> gated_delta_scan_op(
    const std::vector<mx::array>& inputs,
    ScanOps ops);

}  // namespace roofline
