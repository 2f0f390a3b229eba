#include "roofline/quantize/calibrate.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

namespace roofline {

namespace {

constexpr std::string_view kExperts = ".experts.";

int experts_of(const ModelSpec& spec, int layer) {
  const auto& part = spec.layers[static_cast<std::size_t>(layer)].feed_forward;
  return part && part->mixture ? part->mixture->experts : 0;
}

}  // namespace

LinearObserver InputCollector::observer() {
  return [this](std::span<const std::string> names, const mx::array& x) {
    seen_.push_back({{names.begin(), names.end()}, x});
  };
}

ExpertObserver InputCollector::expert_observer(int experts) {
  return [this, experts](
             std::span<const std::string> names,
             const mx::array& x,
             const mx::array& ids) {
    seen_by_experts_.push_back({{names.begin(), names.end()}, x, ids, experts});
  };
}

InputStatistics& InputCollector::statistics_of(
    const std::vector<std::string>& names,
    int cols) {
  auto& first = statistics_[names[0]];
  if (!first) {
    first = std::make_shared<InputStatistics>(cols);
    for (const auto& name : names) {
      statistics_[name] = first;
    }
  }
  return *first;
}

void InputCollector::add(const SeenByExperts& seen, ThreadPool& pool) {
  const int rows = seen.x.shape(0);
  const int cols = seen.x.shape(1);
  const float* x = seen.x.data<float>();
  statistics_of(seen.names, cols).add(x, rows, pool);
  const std::int64_t bytes =
      std::int64_t{4} * seen.experts * cols * static_cast<std::int64_t>(cols);
  if (bytes > kMostExpertMoments) {
    return;
  }
  const auto* ids = seen.ids.data<std::uint32_t>();
  std::vector<float> own;
  for (int expert = 0; expert < seen.experts; ++expert) {
    own.clear();
    for (int row = 0; row < rows; ++row) {
      if (ids[row] == static_cast<std::uint32_t>(expert)) {
        const float* from =
            x + static_cast<std::size_t>(row) * static_cast<std::size_t>(cols);
        own.insert(own.end(), from, from + cols);
      }
    }
    std::vector<std::string> names;
    for (const auto& name : seen.names) {
      names.push_back(expert_name(name, expert));
    }
    statistics_of(names, cols)
        .add(own.data(), static_cast<int>(own.size()) / cols, pool);
  }
}

void InputCollector::evaluate(
    const mx::array& result,
    ThreadPool& pool,
    InputCollector* source) {
  std::vector<mx::array> arrays = {result};
  for (auto* seen : {&seen_, source != nullptr ? &source->seen_ : nullptr}) {
    for (std::size_t i = 0; seen != nullptr && i < seen->size(); ++i) {
      mx::array& x = (*seen)[i].x;
      x = mx::contiguous(mx::astype(x, mx::float32));
      arrays.push_back(x);
    }
  }
  for (SeenByExperts& seen : seen_by_experts_) {
    seen.x = mx::contiguous(mx::astype(seen.x, mx::float32));
    seen.ids = mx::contiguous(mx::astype(seen.ids, mx::uint32));
    arrays.push_back(seen.x);
    arrays.push_back(seen.ids);
  }
  mx::eval(arrays);
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    const Seen& seen = seen_[i];
    const float* x = seen.x.data<float>();
    const int tokens = seen.x.shape(0);
    InputStatistics& statistics = statistics_of(seen.names, seen.x.shape(1));
    statistics.add(x, tokens, pool);
    if (source != nullptr) {
      const mx::array& wanted = source->seen_[i].x;
      statistics.add_lag(wanted.data<float>(), x, tokens, pool);
    }
  }
  for (const SeenByExperts& seen : seen_by_experts_) {
    add(seen, pool);
  }
  seen_.clear();
  seen_by_experts_.clear();
  if (source != nullptr) {
    source->seen_.clear();
    source->seen_by_experts_.clear();
  }
}

std::string expert_name(const std::string& stack, int expert) {
  const auto at = stack.find(kExperts);
  return at == std::string::npos ? ""
                                 : fmt::format(
                                       "{}{}.{}",
                                       stack.substr(0, at + kExperts.size()),
                                       expert,
                                       stack.substr(at + kExperts.size()));
}

std::string expert_stack(const std::string& name) {
  const auto at = name.find(kExperts);
  const auto number = at + kExperts.size();
  if (at == std::string::npos || number >= name.size() || name[number] < '0' ||
      name[number] > '9') {
    return "";
  }
  return name.substr(0, number) + name.substr(name.find('.', number) + 1);
}

TextStream::TextStream(
    const Checkpoint& checkpoint,
    const std::vector<std::vector<std::int32_t>>& windows) {
  const LayeredModel::Start start(checkpoint.spec(), checkpoint);
  for (const auto& ids : windows) {
    windows_.push_back(start.embed(ids));
  }
}

TextStream::TextStream(
    const Checkpoint& checkpoint,
    const std::vector<std::vector<std::int32_t>>& windows,
    const std::vector<FloatMatrix>& looked_up) {
  const LayeredModel::Start start(checkpoint.spec(), checkpoint);
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const FloatMatrix& rows = looked_up[w];
    const mx::Shape shape{rows.rows, rows.cols};
    windows_.push_back(
        start.embed_rows(windows[w], mx::array(rows.values.data(), shape)));
  }
}

StatisticsByName TextStream::observe(
    LayeredModel& model,
    const Checkpoint& checkpoint,
    int layer,
    ThreadPool& pool,
    const TextStream* source) const {
  InputCollector collector;
  const int experts = experts_of(checkpoint.spec(), layer);
  GraphLayer loaded = model.layer(
      checkpoint,
      layer,
      collector.observer(),
      collector.expert_observer(experts));
  if (source == nullptr) {
    for (const auto& window : windows_) {
      collector.evaluate(model.run(loaded, layer, window).x, pool);
    }
    return collector.take();
  }
  InputCollector wanted;
  GraphLayer again = model.layer(
      checkpoint,
      layer,
      wanted.observer(),
      wanted.expert_observer(experts));
  for (std::size_t i = 0; i < windows_.size(); ++i) {
    mx::eval(model.run(again, layer, source->windows_[i]).x);
    collector.evaluate(model.run(loaded, layer, windows_[i]).x, pool, &wanted);
  }
  return collector.take();
}

void TextStream::advance(
    LayeredModel& model,
    const Checkpoint& checkpoint,
    int layer) {
  GraphLayer loaded = model.layer(checkpoint, layer);
  for (auto& window : windows_) {
    window = model.run(loaded, layer, window);
    mx::eval(window.x);
  }
}

StatisticsByName TextStream::observe_head(
    const ModelSpec& spec,
    const Checkpoint& checkpoint,
    ThreadPool& pool) const {
  InputCollector collector;
  const LayeredModel::Head head(spec, checkpoint);
  const std::string name = head.name();
  for (const auto& window : windows_) {
    const auto normed = head.normed(window.x);
    collector.observer()(std::span(&name, 1), normed);
    collector.evaluate(normed, pool);
  }
  return collector.take();
}

void decode_matrices(
    const Checkpoint& checkpoint,
    const std::string& prefix,
    OverlayCheckpoint& overlay) {
  auto& pool = ThreadPool::global();
  for (const Tensor& tensor : checkpoint.tensors()) {
    if (tensor.name.starts_with(prefix) && tensor.rows > 1) {
      overlay.replace(tensor.name, read_matrix(tensor, pool));
      checkpoint.release(tensor);
    }
  }
}

TextStream run_all_layers(
    const Checkpoint& checkpoint,
    const std::vector<std::vector<std::int32_t>>& windows,
    const std::function<bool(double share)>& go_on) {
  LayeredModel model(checkpoint.spec());
  OverlayCheckpoint overlay(checkpoint);
  TextStream stream(checkpoint, windows);
  const auto layers = static_cast<int>(checkpoint.spec().layers.size());
  for (int layer = 0; layer < layers; ++layer) {
    if (!go_on(static_cast<double>(layer) / layers)) {
      break;
    }
    decode_matrices(checkpoint, fmt::format("layers.{}.", layer), overlay);
    stream.advance(model, overlay, layer);
    overlay.restore();
  }
  return stream;
}

}  // namespace roofline
