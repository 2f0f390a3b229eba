// Activations as MLX ops.
#pragma once

#include <functional>
#include <vector>

#include <mlx/array.h>

#include "roofline/spec/model_spec.h"

namespace roofline {

namespace mx = mlx::core;

using GraphFunction =
    std::function<std::vector<mx::array>(const std::vector<mx::array>&)>;

/// {x} or {gate, up} → {act(x)} or {act(gate)·up}, in x's type. fuse: as one
/// kernel by mx::compile. xielu takes its scalars after these: {x, alpha_p,
/// alpha_n, beta, eps}, as they are stored (before softplus).
GraphFunction make_activate(Activation activation, bool fuse);

/// log(1 + exp(x)), without overflow.
mx::array softplus(const mx::array& x);

}  // namespace roofline
