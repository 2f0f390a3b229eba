#include "roofline/quantize/calibrate.h"

#include <mlx/ops.h>
#include <mlx/transforms.h>

namespace roofline {

LinearObserver InputCollector::observer() {
  return [this](std::span<const std::string> names, const mx::array& x) {
    seen_.push_back({{names.begin(), names.end()}, x});
  };
}

void InputCollector::evaluate(const mx::array& result, ThreadPool& pool) {
  std::vector<mx::array> arrays = {result};
  for (Seen& seen : seen_) {
    seen.x = mx::contiguous(mx::astype(seen.x, mx::float32));
    arrays.push_back(seen.x);
  }
  mx::eval(arrays);
  for (const Seen& seen : seen_) {
    auto& first = statistics_[seen.names[0]];
    if (!first) {
      first = std::make_shared<InputStatistics>(seen.x.shape(1));
      for (const auto& name : seen.names) {
        statistics_[name] = first;
      }
    }
    first->add(seen.x.data<float>(), seen.x.shape(0), pool);
  }
  seen_.clear();
}

TextStream::TextStream(
    LayeredModel& model,
    const Checkpoint& checkpoint,
    const std::vector<std::vector<std::int32_t>>& windows) {
  for (const auto& window : windows) {
    x_.push_back(model.embed(checkpoint, window));
  }
}

std::size_t TextStream::bytes() const {
  std::size_t sum = 0;
  for (const auto& x : x_) {
    sum += x.nbytes();
  }
  return sum;
}

StatisticsByName TextStream::observe(
    LayeredModel& model,
    const Checkpoint& checkpoint,
    int layer,
    ThreadPool& pool) const {
  InputCollector collector;
  GraphLayer loaded = model.layer(checkpoint, layer, collector.observer());
  for (const auto& x : x_) {
    collector.evaluate(model.run(loaded, x), pool);
  }
  return collector.take();
}

void TextStream::advance(
    LayeredModel& model,
    const Checkpoint& checkpoint,
    int layer) {
  GraphLayer loaded = model.layer(checkpoint, layer);
  for (auto& x : x_) {
    x = model.run(loaded, x);
    mx::eval(x);
  }
}

StatisticsByName TextStream::observe_head(
    const ModelSpec& spec,
    const Checkpoint& checkpoint,
    ThreadPool& pool) const {
  InputCollector collector;
  const LayeredModel::Head head(spec, checkpoint, collector.observer());
  for (const auto& x : x_) {
    // Only its input is looked at; the logits are never evaluated.
    const auto logits = head.logits(x);
    collector.evaluate(mx::slice(x, {0, 0}, {1, 1}), pool);
  }
  return collector.take();
}

}  // namespace roofline
