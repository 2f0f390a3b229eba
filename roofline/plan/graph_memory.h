// What a model takes on a CPU that runs as a graph of MLX's ops there, where
// the fused step (kernels/block) lacks one of its mechanisms: activations of a
// layer, and tensors that the graph holds in another form.
#pragma once

#include <cstdint>

#include "roofline/plan/planned_model.h"

namespace roofline {

/// Whether the model runs so on a CPU.
bool runs_as_graph_on_cpu(const ModelSpec& spec);

/// The results of the ops of the layer that has most, in float32, for `rows`
/// tokens: the graph is evaluated a layer at a time, and MLX gives all of a
/// layer's results memory before the CPU gets to them. What MLX's allocator
/// keeps of freed ones (32 MiB at most) is used again by the next layer.
double cpu_graph_step_bytes(const ModelSpec& spec, double rows);

/// Matrices that the graph holds as float32, however they are stored: those
/// between a latent and its heads.
bool held_as_float32(const ModelTensor& tensor);

}  // namespace roofline
