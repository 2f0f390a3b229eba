// The fused CPU decoder: kernels/block's step behind the Decoder interface.
#pragma once

#include <memory>

#include "roofline/base/thread_pool.h"
#include "roofline/model/decoder.h"

namespace roofline {

/// Packs or maps the weights (cpu_weights.h). forward() returns evaluated
/// logits: the caches may be appended to right away. `checkpoint` and `pool`
/// must outlive the decoder. Throws CheckpointError when the tensors don't fit
/// the spec.
std::unique_ptr<Decoder> load_cpu_decoder(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    ThreadPool& pool = ThreadPool::global());

}  // namespace roofline
