// The calibration text's way through a model: the residual stream of every
// window, and the statistics of what a layer's matrices are multiplied with.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/input_statistics.h"
#include "roofline/quantize/layered_model.h"
#include "roofline/quantize/overlay.h"

namespace roofline {

/// By the names of matrices; those that read the same input share one.
using StatisticsByName =
    std::map<std::string, std::shared_ptr<InputStatistics>, std::less<>>;

/// Bytes of the moments of all experts' inputs, of one product; a mixture has
/// two such. Where they'd be more, experts have those of all together.
constexpr std::int64_t kMostExpertMoments = std::int64_t{1} << 30;

/// Collects statistics from the products that it is told of.
class InputCollector {
 public:
  /// To be given to LayeredModel; the collector must outlive what it built.
  LinearObserver observer();
  /// The same for experts: statistics under each expert's own name, and under
  /// the stack's of all together. Where those of each would take too much
  /// memory there are only the latter.
  ExpertObserver expert_observer(int experts);
  /// Evaluates `result` with all inputs seen since the last call, and adds
  /// them. source: what saw the same products of the model as it is; its inputs
  /// are those that were wanted.
  void evaluate(
      const mx::array& result,
      ThreadPool& pool,
      InputCollector* source = nullptr);
  StatisticsByName take() { return std::move(statistics_); }

 private:
  struct Seen {
    std::vector<std::string> names;
    mx::array x;
  };
  struct SeenByExperts {
    std::vector<std::string> names;
    mx::array x, ids;
    int experts = 0;
  };
  InputStatistics& statistics_of(
      const std::vector<std::string>& names,
      int cols);
  void add(const SeenByExperts& seen, ThreadPool& pool);

  std::vector<Seen> seen_;
  std::vector<SeenByExperts> seen_by_experts_;
  StatisticsByName statistics_;
};

/// "….experts.gate" → "….experts.3.gate"; "" for names of no stack.
std::string expert_name(const std::string& stack, int expert);
/// "….experts.3.gate" → "….experts.gate"; "" for other names.
std::string expert_stack(const std::string& name);

class TextStream {
 public:
  /// Embeds the windows.
  TextStream(
      const Checkpoint& checkpoint,
      const std::vector<std::vector<std::int32_t>>& windows);
  /// Begins with rows of another embedding, [tokens, dim] a window.
  TextStream(
      const Checkpoint& checkpoint,
      const std::vector<std::vector<std::int32_t>>& windows,
      const std::vector<FloatMatrix>& looked_up);

  std::size_t windows() const { return windows_.size(); }
  const LayeredWindow& window(std::size_t index) const {
    return windows_[index];
  }
  const mx::array& at(std::size_t index) const { return windows_[index].x; }

  /// The statistics of the inputs of a layer's matrices; the stream stays
  /// where it is. source: the stream of the model as it is, for the lag.
  StatisticsByName observe(
      LayeredModel& model,
      const Checkpoint& checkpoint,
      int layer,
      ThreadPool& pool,
      const TextStream* source = nullptr) const;
  /// Moves all windows through a layer.
  void advance(LayeredModel& model, const Checkpoint& checkpoint, int layer);
  /// The statistics of the head's input, when all layers are done.
  StatisticsByName observe_head(
      const ModelSpec& spec,
      const Checkpoint& checkpoint,
      ThreadPool& pool) const;

 private:
  std::vector<LayeredWindow> windows_;
};

/// The matrices whose names begin so, as float32: exact for every encoding, and
/// multiplied with by the float kernels.
void decode_matrices(
    const Checkpoint& checkpoint,
    const std::string& prefix,
    OverlayCheckpoint& overlay);

/// The residual streams behind the last layer, one layer in memory at a time.
/// go_on is told the share that is done; false ends it early.
TextStream run_all_layers(
    const Checkpoint& checkpoint,
    const std::vector<std::vector<std::int32_t>>& windows,
    const std::function<bool(double share)>& go_on);

}  // namespace roofline
