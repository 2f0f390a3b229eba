// What a model takes on a CPU that runs as a graph of MLX's ops there, where
// the fused step (kernels/block) lacks one of its mechanisms: activations of a
// layer, and tensors that the graph holds in another form.
#pragma once

#include <cstdint>

#include "roofline/plan/planned_model.h"

namespace roofline {

/// Whether the model runs so on a CPU.
bool runs_as_graph_on_cpu(const ModelSpec& spec);

/// What a step of `rows` tokens holds beside weights and caches: the graph is
/// evaluated a layer at a time, and of a layer's parts the one whose results
/// are most at once, with what the others leave in the heap. Ops with a large
/// output wait for the ones before, so that MLX doesn't hand out memory for all
/// of the layer ahead.
double cpu_graph_step_bytes(const ModelSpec& spec, double rows);

/// Matrices that the graph holds as float32, however they are stored: those
/// between a latent and its heads.
bool held_as_float32(const ModelTensor& tensor);

}  // namespace roofline
