// MLX's converter folds some of a config's factors into the weights of hybrid
// models and leaves config.json as it was: only the order of a convolution's
// axes tells that it has been at work.
#pragma once

#include "roofline/spec/model_spec.h"

namespace roofline {

/// Takes out of `spec` what MLX's converter has folded into the weights.
void unfold_mlx_factors(ModelSpec& spec);

/// Whether that changes anything: a layer with a recurrence whose norms or
/// factors MLX's converter would fold.
bool is_unfolded(const ModelSpec& spec);

}  // namespace roofline
