// The fused step with its logits as an MLX array. It runs on the thread that
// asks for it: handed to MLX's own CPU thread it would cost two wake-ups, a
// twentieth of a small model's token.
#pragma once

#include <cstdint>
#include <span>

#include <mlx/array.h>

#include "roofline/kernels/block/step.h"

namespace roofline {

namespace mx = mlx::core;

/// run_step(): ids are all slices' tokens in order, each in [0, vocab). Returns
/// the logits [sum of logit_rows, vocab] float32. Whoever asks while another
/// thread's step runs in the same scratch waits for its end.
mx::array decoder_step(
    const StepModel& model,
    std::span<const std::int32_t> ids,
    std::span<const StepSlice> slices,
    StepScratch& scratch,
    ThreadPool& pool);

}  // namespace roofline
