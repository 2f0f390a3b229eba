// MLX's nvfp4 with one scale more for a matrix, or for each expert of a stack
// ("global_scale", as mlx-lm writes it for experts).
#pragma once

#include <string>
#include <vector>

#include "roofline/weights/safetensors.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// packed: a matrix, or the experts' matrices one after another, named as in
/// the file. scales: F32, one number, or one an expert. A stack comes back as a
/// tensor for each expert, "….experts.N.up_proj.weight". Throws
/// CheckpointError when the scales don't fit, UnsupportedError for another mode
/// and for a stack that isn't one of experts.
std::vector<Tensor> with_global_scales(
    const Tensor& packed,
    const SafetensorsEntry& scales,
    const std::string& label);

}  // namespace roofline
