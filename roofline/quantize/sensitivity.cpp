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
#include "roofline/quantize/gptq.h"
#include "roofline/quantize/input_statistics.h"
#include "roofline/quantize/knapsack.h"
#include "roofline/quantize/overlay.h"
#include "roofline/quantize/quantize.h"
#include "roofline/quantize/refine.h"

namespace roofline {

namespace {

using Streams = std::map<std::string, std::vector<LayeredWindow>, std::less<>>;

/// The name under which all layers' divergence is kept.
constexpr const char* kTogether = "";

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
    for (std::size_t w = 0; w < source_->windows(); ++w) {
      together_.push_back(source_->window(w));
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

  /// What the candidates' losses, and GPTQ, weigh errors with.
  std::optional<SquareMatrix> moments_of(
      const std::string& name,
      const InputStatistics* inputs) const {
    if (inputs == nullptr || inputs->tokens() == 0) {
      return std::nullopt;
    }
    const QuantizeOptions usual;
    return options_.gptq
               ? damped(
                     inputs->moments(),
                     name == "embed" ? usual.lookup_damping : usual.damping)
               : inputs->moments();
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
    const auto moments = moments_of(name, inputs);
    LossQuestion question;
    question.candidates = options_.candidates;
    question.probe = options_.probe;
    question.scale_type = options_.scale_type;
    question.gptq = options_.gptq;
    found_[name].losses =
        format_losses(weights, moments ? &*moments : nullptr, question, pool_);
    if (!options_.gptq || !moments) {
      return rounded_to(weights, options_.probe);
    }
    CodeMatrix codes =
        gptq(weights, *moments, options_.probe, options_.scale_type, pool_);
    const QuantizeOptions usual;
    refine(codes, weights, *moments, usual.refine_rounds, pool_);
    return decode(codes, pool_);
  }

  /// What a tied head reads, before anything is rounded.
  StatisticsByName head_inputs() {
    TextStream stream(
        checkpoint_,
        options_.calibration.empty() ? options_.windows : options_.calibration);
    const auto layers = static_cast<int>(checkpoint_.spec().layers.size());
    for (int layer = 0; layer < layers; ++layer) {
      tell(0, "reading the text");
      stream.advance(model_, checkpoint_, layer);
    }
    return stream.observe_head(checkpoint_.spec(), checkpoint_, pool_);
  }

  void begin_embedding() {
    if (names_.count("embed") == 0) {
      return;
    }
    OverlayCheckpoint overlay(checkpoint_);
    const bool tied = checkpoint_.spec().tied_embeddings;
    const StatisticsByName head =
        tied && options_.gptq ? head_inputs() : StatisticsByName();
    const auto inputs = head.find("embed");
    auto rounded =
        probe("embed", inputs == head.end() ? nullptr : inputs->second.get());
    if (tied) {
      rounded_embedding_ = rounded;
    }
    overlay.replace("embed", std::move(rounded));
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
    OverlayCheckpoint all(checkpoint_);
    for (const std::string& name : names_) {
      if (!name.starts_with(prefix)) {
        continue;
      }
      tell(static_cast<double>(layer) / layers, name);
      const auto seen = statistics.find(name);
      FloatMatrix values =
          probe(name, seen == statistics.end() ? nullptr : seen->second.get());
      all.replace(name, values);
      OverlayCheckpoint overlay(checkpoint_);
      overlay.replace(name, std::move(values));
      GraphLayer rounded = model_.layer(overlay, layer);
      auto& x = streams_[name];
      for (std::size_t w = 0; w < source_->windows(); ++w) {
        x.push_back(source_->window(w));
      }
      advance(rounded, layer, x);
    }
    GraphLayer rounded_whole = model_.layer(all, layer);
    advance(rounded_whole, layer, together_);
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
      compare(kTogether, wanted, evaluated(source.logits(together_[w].x)));
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
    double apart = 0;
    for (auto& [name, found] : found_) {
      found.kl = estimate_of(divergences_[name]).mean;
      apart += name.starts_with("layers.") ? found.kl : 0;
    }
    // Errors of many layers add up to more than the sum of each alone.
    const double together = estimate_of(divergences_[kTogether]).mean;
    const double more = apart > 0 ? std::max(1.0, together / apart) : 1.0;
    for (auto& [name, found] : found_) {
      for (double& loss : found.losses) {
        loss *= found.kl * (name.starts_with("layers.") ? more : 1.0);
      }
    }
  }

  void round_head(
      const std::string& name,
      bool tied,
      OverlayCheckpoint& overlay) {
    if (tied) {
      overlay.replace(name, std::move(rounded_embedding_));
      return;
    }
    const TextStream& calibration = calibration_ ? *calibration_ : *source_;
    const auto statistics =
        calibration.observe_head(checkpoint_.spec(), checkpoint_, pool_);
    overlay.replace(name, probe(name, statistics.at(name).get()));
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
  std::vector<LayeredWindow> together_;  ///< with every layer rounded
  FloatMatrix rounded_embedding_;        ///< a tied one, until it is the head
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
