// The fused step as one MLX primitive: ids in, logits out, run on the CPU
// stream. Between the two MLX schedules nothing else.
#pragma once

#include <memory>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/block/step.h"

namespace roofline {

namespace mx = mlx::core;

/// What a step needs beside its ids; shared with the scheduled work.
struct DecoderStepArgs {
  std::shared_ptr<const StepModel> model;
  std::shared_ptr<StepScratch> scratch;
  std::vector<StepSlice> slices;
  ThreadPool* pool = nullptr;  ///< outlives the work
};

/// ids: [tokens] int32, all slices' tokens in order, each in [0, vocab).
/// Returns logits [sum of logit_rows, vocab] float32, not yet evaluated. The
/// caches' views must hold until it is; it has no gradient.
mx::array decoder_step(const mx::array& ids, DecoderStepArgs args);

}  // namespace roofline
