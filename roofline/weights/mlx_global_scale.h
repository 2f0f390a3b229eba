// MLX's nvfp4 with one scale more for a matrix, or for each expert of a stack
// ("global_scale", as mlx-lm writes it for experts).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "roofline/weights/safetensors.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// What the entry's numbers, one for a matrix or one an expert, multiply: MLX
/// stores them times the largest scale and the largest code. Throws
/// CheckpointError for what can't be such numbers.
std::vector<float> global_scale_factors(
    const SafetensorsEntry& scales,
    const std::string& label);

/// A stack of experts' matrices or vectors, one tensor for each expert. The
/// experts divide its rows.
std::vector<Tensor> split_experts(const Tensor& stack, std::int64_t experts);

/// packed: a matrix, or the experts' matrices one after another, named as in
/// the file. scales: F32, one number, or one an expert. A stack comes back as a
/// tensor for each expert, "….experts.N.up_proj.weight",
/// whatever the stack is called (switch_mlp, experts.switch_glu, experts).
/// Throws CheckpointError when the scales don't fit, UnsupportedError for
/// another mode and for a stack that isn't one of experts.
std::vector<Tensor> with_global_scales(
    const Tensor& packed,
    const SafetensorsEntry& scales,
    const std::string& label);

}  // namespace roofline
