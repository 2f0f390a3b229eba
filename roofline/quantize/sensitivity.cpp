#include "roofline/quantize/sensitivity.h"

#include <algorithm>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/evaluate/quality.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/format_losses.h"
#include "roofline/quantize/input_statistics.h"
#include "roofline/quantize/knapsack.h"
#include "roofline/quantize/overlay.h"
#include "roofline/quantize/quantize.h"

namespace roofline {

namespace {

using Streams = std::map<std::string, std::vector<LayeredWindow>, std::less<>>;

class Measuring {
 public:
  Measuring(
      const Checkpoint& checkpoint,
      const FormatPlan& plan,
      const SensitivityOptions& options)
      : checkpoint_(checkpoint),
        options_(options),
        pool_(ThreadPool::global()),
        model_(checkpoint.spec()) {
    for (const auto& [name, format] : plan.formats) {
      if (format.mode != QuantMode::keep) {
        names_.insert(name);
      }
    }
  }

  SensitivityByName run() {
    source_.emplace(checkpoint_, options_.windows);
    if (!options_.calibration.empty()) {
      calibration_.emplace(checkpoint_, options_.calibration);
    }
    begin_embedding();
    const auto layers = static_cast<int>(checkpoint_.spec().layers.size());
    for (int layer = 0; layer < layers; ++layer) {
      measure_layer(layer, layers);
    }
    measure_head();
    return std::move(found_);
  }

 private:
  void tell(double share, const std::string& what) const {
    if (options_.stop && options_.stop()) {
      throw QuantizeCancelled();
    }
    if (options_.progress) {
      options_.progress(share, what);
    }
  }

  FloatMatrix rounded_to(const FloatMatrix& weights, const MatrixFormat& format)
      const {
    return decode(
        round_plain(
            weights,
            format,
            options_.scale_type,
            pool_,
            RangeSearch::narrower),
        pool_);
  }

  /// Keeps what the candidates lose against plain rounding to the probe.
  void compare_formats(
      const std::string& name,
      const FloatMatrix& weights,
      const InputStatistics* inputs) {
    LossQuestion question;
    question.candidates = options_.candidates;
    question.probe = options_.probe;
    question.scale_type = options_.scale_type;
    std::optional<SquareMatrix> moments;
    if (inputs != nullptr && inputs->tokens() > 0) {
      moments = inputs->moments();
    }
    if (moments && options_.gptq) {
      const QuantizeOptions usual;
      question.gptq_refine_rounds = usual.refine_rounds;
      moments = damped(
          *std::move(moments),
          name == "embed" ? usual.lookup_damping : usual.damping);
    }
    found_[name].losses =
        format_losses(weights, moments ? &*moments : nullptr, question, pool_);
  }

  FloatMatrix read(const std::string& name) const {
    const Tensor& tensor = checkpoint_.at(name);
    FloatMatrix values = read_matrix(tensor, pool_);
    checkpoint_.release(tensor);
    return values;
  }

  /// Rounds a matrix: the candidates' losses are kept, its values returned.
  FloatMatrix probe(const std::string& name, const InputStatistics* inputs) {
    const FloatMatrix weights = read(name);
    compare_formats(name, weights, inputs);
    return rounded_to(weights, options_.probe);
  }

  void begin_embedding() {
    if (names_.count("embed") == 0) {
      return;
    }
    OverlayCheckpoint overlay(checkpoint_);
    // A tied one's candidates are compared by what leaves the last layer.
    overlay.replace("embed", probe("embed", nullptr));
    const TextStream stream(overlay, options_.windows);
    for (std::size_t w = 0; w < stream.windows(); ++w) {
      streams_["embed"].push_back(stream.window(w));
    }
  }

  void measure_layer(int layer, int layers) {
    const auto prefix = fmt::format("layers.{}.", layer);
    TextStream& calibration = calibration_ ? *calibration_ : *source_;
    const auto statistics =
        calibration.observe(model_, checkpoint_, layer, pool_);
    // What was rounded in earlier layers goes through this one as it is.
    GraphLayer loaded = model_.layer(checkpoint_, layer);
    for (auto& [name, x] : streams_) {
      tell(static_cast<double>(layer) / layers, name);
      advance(loaded, layer, x);
    }
    for (const std::string& name : names_) {
      if (!name.starts_with(prefix)) {
        continue;
      }
      tell(static_cast<double>(layer) / layers, name);
      const auto seen = statistics.find(name);
      OverlayCheckpoint overlay(checkpoint_);
      overlay.replace(
          name,
          probe(name, seen == statistics.end() ? nullptr : seen->second.get()));
      GraphLayer rounded = model_.layer(overlay, layer);
      auto& x = streams_[name];
      for (std::size_t w = 0; w < source_->windows(); ++w) {
        x.push_back(source_->window(w));
      }
      advance(rounded, layer, x);
    }
    source_->advance(model_, checkpoint_, layer);
    if (calibration_) {
      calibration_->advance(model_, checkpoint_, layer);
    }
  }

  void advance(
      GraphLayer& loaded,
      int layer,
      std::vector<LayeredWindow>& windows) {
    for (auto& window : windows) {
      window = model_.run(loaded, layer, window);
      mx::eval(window.x);
    }
  }

  /// Window by window: logits of one are in memory at a time.
  void measure_head() {
    const bool tied = checkpoint_.spec().tied_embeddings;
    const std::string own = tied ? "embed" : "head";
    const LayeredModel::Head source(checkpoint_.spec(), checkpoint_);
    OverlayCheckpoint overlay(checkpoint_);
    std::optional<LayeredModel::Head> rounded;
    if (names_.count(own) != 0) {
      round_head(own, tied, overlay);
      rounded.emplace(checkpoint_.spec(), overlay);
    }
    for (std::size_t w = 0; w < source_->windows(); ++w) {
      const auto wanted = evaluated(source.logits(source_->at(w)));
      for (const auto& [name, x] : streams_) {
        tell(1.0, name);
        if (name != own) {
          compare(name, wanted, evaluated(source.logits(x[w].x)));
        }
      }
      if (rounded) {
        const auto& x = tied ? streams_.at(own)[w].x : source_->at(w);
        compare(own, wanted, evaluated(rounded->logits(x)));
      }
    }
    for (auto& [name, found] : found_) {
      found.kl = estimate_of(divergences_[name]).mean;
      for (double& loss : found.losses) {
        loss *= found.kl;
      }
    }
  }

  void round_head(
      const std::string& name,
      bool tied,
      OverlayCheckpoint& overlay) {
    const TextStream& calibration = calibration_ ? *calibration_ : *source_;
    const auto statistics =
        calibration.observe_head(checkpoint_.spec(), checkpoint_, pool_);
    const bool again = tied && options_.gptq;
    const InputStatistics* inputs = statistics.at(name).get();
    overlay.replace(
        name,
        tied && !again ? rounded_to(read(name), options_.probe)
                       : probe(name, inputs));
  }

  static mx::array evaluated(const mx::array& x) {
    auto whole = mx::contiguous(x);
    mx::eval(whole);
    return whole;
  }

  /// Keeps the divergence of each token.
  void compare(
      const std::string& name,
      const mx::array& wanted,
      const mx::array& got) {
    const auto width = static_cast<std::size_t>(got.shape(1));
    std::vector<double>& kls = divergences_[name];
    const std::size_t first = kls.size();
    kls.resize(first + static_cast<std::size_t>(got.shape(0)));
    auto of_row = [&](int i, int) {
      const auto row = static_cast<std::size_t>(i);
      kls[first + row] = compare_logits(
                             {wanted.data<float>() + row * width, width},
                             {got.data<float>() + row * width, width},
                             0)
                             .kl;
    };
    pool_.run(got.shape(0), of_row);
  }

  const Checkpoint& checkpoint_;
  const SensitivityOptions& options_;
  ThreadPool& pool_;
  LayeredModel model_;
  std::set<std::string> names_;
  std::optional<TextStream> source_;
  std::optional<TextStream> calibration_;  ///< the source's, of more text
  Streams streams_;  ///< by the matrix that is rounded in each
  std::map<std::string, std::vector<double>, std::less<>> divergences_;
  SensitivityByName found_;
};

}  // namespace

SensitivityByName measure_sensitivity(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const SensitivityOptions& options) {
  if (options.windows.empty()) {
    fail<UserError>(
        "There is no text to measure with",
        "Sensitivity is what rounding does to predictions of a text",
        "Give a longer --calibration text");
  }
  return Measuring(checkpoint, plan, options).run();
}

void choose_formats(
    const Checkpoint& checkpoint,
    const SensitivityByName& sensitivities,
    std::span<const MatrixFormat> candidates,
    double target_bits_per_weight,
    std::span<const std::vector<std::string>> together,
    FormatPlan& plan) {
  std::vector<std::vector<std::string>> items;
  std::set<std::string, std::less<>> grouped;
  const auto known = [&](const std::string& name) {
    return sensitivities.find(name) != sensitivities.end();
  };
  for (const auto& names : together) {
    std::vector<std::string> item;
    std::copy_if(names.begin(), names.end(), std::back_inserter(item), known);
    if (!item.empty()) {
      grouped.insert(item.begin(), item.end());
      items.push_back(std::move(item));
    }
  }
  for (const auto& [name, found] : sensitivities) {
    if (grouped.count(name) == 0) {
      items.push_back({name});
    }
  }
  // What isn't chosen here takes its part of the budget first.
  std::int64_t weights = 0;
  for (const Tensor& tensor : checkpoint.tensors()) {
    weights += tensor.rows * tensor.cols;
  }
  auto budget = static_cast<std::int64_t>(
      target_bits_per_weight * static_cast<double>(weights) / 8);
  budget -= plan.bytes(checkpoint);
  for (const auto& [name, found] : sensitivities) {
    const Tensor& tensor = checkpoint.at(name);
    budget += plan.formats.at(name).bytes(tensor.rows, tensor.cols);
  }
  std::vector<std::vector<KnapsackOption>> options;
  std::vector<std::vector<std::size_t>> formats;  // candidates that fit
  for (const auto& names : items) {
    options.emplace_back();
    formats.emplace_back();
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      KnapsackOption option;
      bool fits = true;
      for (const auto& name : names) {
        const Tensor& tensor = checkpoint.at(name);
        fits = fits && candidates[c].fits(tensor.cols);
        option.size += candidates[c].bytes(tensor.rows, tensor.cols);
        option.loss += sensitivities.find(name)->second.losses[c];
      }
      if (fits) {
        options.back().push_back(option);
        formats.back().push_back(c);
      }
    }
  }
  const auto chosen = solve_knapsack(options, budget);
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (const auto& name : items[i]) {
      plan.formats.at(name) = candidates[formats[i][chosen[i]]];
    }
  }
}

}  // namespace roofline
