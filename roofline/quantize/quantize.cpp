#include "roofline/quantize/quantize.h"

#include <algorithm>
#include <set>
#include <string>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/quantize/awq.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/gptq.h"
#include "roofline/quantize/layered_model.h"
#include "roofline/quantize/overlay.h"
#include "roofline/quantize/refine.h"

namespace roofline {

namespace {

class Run {
 public:
  Run(const Checkpoint& checkpoint,
      const FormatPlan& plan,
      const QuantizeOptions& options,
      QuantizeSink& sink)
      : checkpoint_(checkpoint),
        plan_(plan),
        options_(options),
        sink_(sink),
        pool_(ThreadPool::global()),
        seen_(checkpoint),
        model_(checkpoint.spec()) {
    for (const auto& [name, format] : plan.formats) {
      const Tensor& tensor = checkpoint.at(name);
      weights_ += static_cast<double>(tensor.rows * tensor.cols);
    }
  }

  void plain() {
    for (const auto& [name, format] : plan_.formats) {
      finish(name, format, {});
    }
  }

  void calibrated() {
    const auto layers = static_cast<int>(checkpoint_.spec().layers.size());
    const bool tied = checkpoint_.spec().tied_embeddings;
    // The embedding comes first, but as a tied head it is calibrated by what
    // leaves the last layer.
    const StatisticsByName head =
        tied && quantizes("embed") ? source_head() : StatisticsByName();
    finish_named("embed", head);
    TextStream stream(model_, seen_, options_.windows);
    for (int layer = 0; layer < layers; ++layer) {
      const auto statistics = stream.observe(model_, checkpoint_, layer, pool_);
      fold(layer, statistics);
      const auto prefix = fmt::format("layers.{}.", layer);
      for (const auto& [name, format] : plan_.formats) {
        if (name.starts_with(prefix)) {
          finish_named(name, statistics);
        }
      }
      stream.advance(model_, seen_, layer);
      seen_.restore();
    }
    if (!tied && quantizes("head")) {
      finish_named(
          "head",
          stream.observe_head(checkpoint_.spec(), checkpoint_, pool_));
    }
    finish_rest();
  }

 private:
  bool quantizes(const std::string& name) const {
    const auto found = plan_.formats.find(name);
    return found != plan_.formats.end() &&
           found->second.mode != QuantMode::keep;
  }

  /// The statistics of the head's input in the model as it is.
  StatisticsByName source_head() {
    TextStream stream(model_, checkpoint_, options_.windows);
    const auto layers = static_cast<int>(checkpoint_.spec().layers.size());
    for (int layer = 0; layer < layers; ++layer) {
      tell("reading the text", 0);
      stream.advance(model_, checkpoint_, layer);
    }
    return stream.observe_head(checkpoint_.spec(), checkpoint_, pool_);
  }

  /// AWQ's scales, into this layer's tensors. Vectors are done with that.
  void fold(int layer, const StatisticsByName& statistics) {
    if (options_.method != QuantizeMethod::awq) {
      return;
    }
    folded_ = fold_awq(
        checkpoint_,
        checkpoint_.spec().layers[static_cast<std::size_t>(layer)],
        layer,
        plan_,
        statistics,
        options_.scale_type,
        pool_);
    for (const auto& [name, values] : folded_.tensors) {
      if (values.rows == 1) {
        sink_.put_floats(name, values);
        seen_.replace(name, values);
      }
    }
  }

  FloatMatrix weights_of(const std::string& name, const Tensor& tensor) {
    const auto folded = folded_.tensors.find(name);
    return folded == folded_.tensors.end() ? read_matrix(tensor, pool_)
                                           : std::move(folded->second);
  }

  void finish_named(
      const std::string& name,
      const StatisticsByName& statistics) {
    const auto format = plan_.formats.find(name);
    if (format == plan_.formats.end() || !done_.insert(name).second) {
      return;
    }
    const auto found = statistics.find(name);
    finish(
        name,
        format->second,
        found == statistics.end() ? nullptr : found->second);
  }

  /// Matrices that no layer named (of parts that only planning knows).
  void finish_rest() {
    for (const auto& [name, format] : plan_.formats) {
      finish_named(name, {});
    }
  }

  void finish(
      const std::string& name,
      const MatrixFormat& format,
      const std::shared_ptr<InputStatistics>& statistics) {
    const Tensor& tensor = checkpoint_.at(name);
    const auto weight = static_cast<double>(tensor.rows * tensor.cols);
    tell(name, weight);
    if (format.mode == QuantMode::keep) {
      return;
    }
    const FloatMatrix weights = weights_of(name, tensor);
    const CodeMatrix codes = quantize(name, weights, format, statistics);
    sink_.put_codes(name, pack_codes(codes, pool_));
    if (options_.method != QuantizeMethod::plain) {
      seen_.replace(name, decode(codes, pool_));
    }
    checkpoint_.release(tensor);
  }

  CodeMatrix quantize(
      const std::string& name,
      const FloatMatrix& weights,
      const MatrixFormat& format,
      const std::shared_ptr<InputStatistics>& statistics) {
    if (options_.method == QuantizeMethod::plain) {
      return round_plain(weights, format, options_.scale_type, pool_);
    }
    if (!statistics || statistics->tokens() == 0) {
      return round_plain(
          weights,
          format,
          options_.scale_type,
          pool_,
          RangeSearch::narrower);
    }
    const SquareMatrix moments = damped(
        statistics->moments(),
        name == "embed" ? options_.lookup_damping : options_.damping);
    if (options_.method == QuantizeMethod::awq) {
      return round_plain(
          weights,
          format,
          options_.scale_type,
          pool_,
          RangeSearch::narrower,
          importance_of(name, moments));
    }
    CodeMatrix codes =
        gptq(weights, moments, format, options_.scale_type, pool_);
    refine(codes, weights, moments, options_.refine_rounds, pool_);
    return codes;
  }

  /// What an error in each column weighs, AWQ's scales counted.
  std::vector<float> importance_of(
      const std::string& name,
      const SquareMatrix& moments) const {
    const auto scales = folded_.input_scales.find(name);
    std::vector<float> importance;
    for (int col = 0; col < moments.size; ++col) {
      const float scale = scales == folded_.input_scales.end()
                              ? 1.0f
                              : scales->second[static_cast<std::size_t>(col)];
      importance.push_back(moments.at(col, col) / (scale * scale));
    }
    return importance;
  }

  void tell(const std::string& what, double weight) {
    if (options_.stop && options_.stop()) {
      throw QuantizeCancelled();
    }
    if (options_.progress) {
      options_.progress(weights_ > 0 ? weights_done_ / weights_ : 0, what);
    }
    weights_done_ += weight;
  }

  const Checkpoint& checkpoint_;
  const FormatPlan& plan_;
  const QuantizeOptions& options_;
  QuantizeSink& sink_;
  ThreadPool& pool_;
  OverlayCheckpoint seen_;  ///< with what is quantized already
  LayeredModel model_;
  FoldedLayer folded_;  ///< of the layer at work
  std::set<std::string> done_;
  double weights_ = 0;
  double weights_done_ = 0;
};

}  // namespace

std::vector<std::vector<std::int32_t>> spread_windows(
    std::span<const std::int32_t> tokens,
    int window,
    int total,
    std::optional<std::int32_t> first_token) {
  const auto width = std::min(static_cast<std::size_t>(window), tokens.size());
  if (width == 0) {
    return {};
  }
  const std::size_t all = tokens.size() / width;
  const std::size_t count =
      std::clamp(static_cast<std::size_t>(total) / width, std::size_t{1}, all);
  std::vector<std::vector<std::int32_t>> windows;
  for (std::size_t i = 0; i < count; ++i) {
    const auto part = tokens.subspan(i * all / count * width, width);
    windows.emplace_back(part.begin(), part.end());
    if (first_token) {
      windows.back().front() = *first_token;
    }
  }
  return windows;
}

void quantize_model(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    QuantizeSink& sink) {
  Run run(checkpoint, plan, options, sink);
  if (options.method == QuantizeMethod::plain) {
    run.plain();
    return;
  }
  if (options.windows.empty()) {
    fail<UserError>(
        "There is no text to calibrate with",
        "Calibrated methods look at what the layers' inputs are",
        "Give a longer --calibration text");
  }
  run.calibrated();
}

}  // namespace roofline
