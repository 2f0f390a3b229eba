// A checkpoint's weights in the form that the fused CPU step reads: quantized
// matrices packed (once, then mapped from a cache file), float matrices in
// place, norms and biases as float32. In: Checkpoint. Out: StepModel.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/block/step.h"
#include "roofline/model/decoder.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// A model whose matrices point into memory that this object or the checkpoint
/// holds.
class CpuWeights {
 public:
  /// Maps the packed weights from the cache, or packs them, tensor by tensor,
  /// giving back the source's pages as it goes. `checkpoint` must outlive it.
  /// Throws CheckpointError when a tensor is missing or has a wrong shape.
  static std::shared_ptr<const CpuWeights> load(
      const Checkpoint& checkpoint,
      const ModelOptions& options,
      ThreadPool& pool);
  virtual ~CpuWeights() = default;

  const StepModel& model() const { return model_; }
  /// Bytes of weights that one decode step reads: Decoder::step_weight_bytes.
  /// screened_share: StepScratch's.
  std::size_t step_bytes(bool all_logits, double screened_share) const;
  /// Why the packed weights could not be kept on disk, or "".
  const std::string& note() const { return note_; }

 protected:
  StepModel model_;
  std::string note_;
};

}  // namespace roofline
