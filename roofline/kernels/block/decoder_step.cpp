#include "roofline/kernels/block/decoder_step.h"

#include <cstddef>
#include <mutex>
#include <utility>

#include "roofline/kernels/block/scratch.h"

namespace roofline {

mx::array decoder_step(
    const StepModel& model,
    std::span<const std::int32_t> ids,
    std::span<const StepSlice> slices,
    StepScratch& scratch,
    ThreadPool& pool) {
  StepScratch::State& state = scratch.state();
  const std::lock_guard<std::mutex> lock(state.running);
  int rows = 0;
  for (const StepSlice& slice : slices) {
    rows += slice.logit_rows;
  }
  mx::allocator::Data logits = state.logits->take(
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(model.vocab) *
      sizeof(float));
  auto* to = static_cast<float*>(logits.buffer().raw_ptr());
  run_step(model, ids, slices, scratch, pool, to);
  return mx::array(std::move(logits), {rows, model.vocab}, mx::float32);
}

}  // namespace roofline
