// What each thread of a step of one token reads first in each product: while it
// waits for others at a product's end, it asks for that.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "roofline/base/read_ahead.h"
#include "roofline/kernels/block/step.h"

namespace roofline {

class ReadOrder {
 public:
  /// Found once for a model, what makes its logits and a number of threads. Its
  /// products in order: of each layer qkv, out, gate and up, down; then the
  /// head.
  void prepare(const StepModel& model, const StepLinear& head, int threads);
  /// For each thread; product kLayerProducts · layers is the head.
  std::span<const ReadAhead> product(std::size_t index) const {
    return std::span(reads_).subspan(index * threads_, threads_);
  }
  static constexpr std::size_t kLayerProducts = 4;

 private:
  void add(const StepLinear& linear);
  void add(const StepFeedForward& ff);

  const StepModel* model_ = nullptr;
  const std::byte* head_ = nullptr;
  std::size_t threads_ = 0;
  std::vector<ReadAhead> reads_;  ///< [products, threads]
};

}  // namespace roofline
