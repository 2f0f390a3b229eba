// The model as a graph of MLX ops: the default on a GPU, the reference on the
// CPU. Built from a ModelSpec alone. forward() only builds the graph; the
// caller evaluates the logits it returns, and with them the cache.
#pragma once

#include <memory>

#include <mlx/device.h>

#include "roofline/model/trainable_decoder.h"

namespace roofline {

/// Activations: the checkpoint's half type on a GPU; float32 on the CPU and in
/// exact mode. On a GPU a tiny run compiles the kernels before this returns.
/// `checkpoint` must outlive the decoder. Throws CheckpointError when a tensor
/// is missing.
std::unique_ptr<TrainableDecoder> load_graph_decoder(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    mx::Device device);

}  // namespace roofline
