// The calibration text's way through a model: the residual stream of every
// window, and the statistics of what a layer's matrices are multiplied with.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/input_statistics.h"
#include "roofline/quantize/layered_model.h"

namespace roofline {

/// By the names of matrices; those that read the same input share one.
using StatisticsByName =
    std::map<std::string, std::shared_ptr<InputStatistics>, std::less<>>;

/// Collects statistics from the products that it is told of.
class InputCollector {
 public:
  /// To be given to LayeredModel; the collector must outlive what it built.
  LinearObserver observer();
  /// Evaluates `result` with all inputs seen since the last call, and adds
  /// them.
  void evaluate(const mx::array& result, ThreadPool& pool);
  StatisticsByName take() { return std::move(statistics_); }

 private:
  struct Seen {
    std::vector<std::string> names;
    mx::array x;
  };
  std::vector<Seen> seen_;
  StatisticsByName statistics_;
};

class TextStream {
 public:
  /// Embeds the windows.
  TextStream(
      LayeredModel& model,
      const Checkpoint& checkpoint,
      const std::vector<std::vector<std::int32_t>>& windows);

  std::size_t windows() const { return x_.size(); }
  const mx::array& at(std::size_t window) const { return x_[window]; }
  std::size_t bytes() const;

  /// The statistics of the inputs of a layer's matrices; the stream stays
  /// where it is.
  StatisticsByName observe(
      LayeredModel& model,
      const Checkpoint& checkpoint,
      int layer,
      ThreadPool& pool) const;
  /// Moves all windows through a layer.
  void advance(LayeredModel& model, const Checkpoint& checkpoint, int layer);
  /// The statistics of the head's input, when all layers are done.
  StatisticsByName observe_head(
      const ModelSpec& spec,
      const Checkpoint& checkpoint,
      ThreadPool& pool) const;

 private:
  std::vector<mx::array> x_;  ///< [tokens, dim] each
};

}  // namespace roofline
