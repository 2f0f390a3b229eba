#include "roofline/quantize/distill.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/clock.h"
#include "roofline/base/errors.h"
#include "roofline/kernels/coded_weight.h"
#include "roofline/model/trainable_decoder.h"
#include "roofline/quantize/distill_texts.h"
#include "roofline/quantize/plan_formats.h"
#include "roofline/train/optimizer.h"

namespace roofline {

namespace {

/// Looks at the windows held out.
constexpr int kChecks = 6;
/// Shares of the steps, and of the rate that is left at the end.
constexpr double kWarmUp = 0.05;
constexpr double kFinalRate = 0.05;
constexpr double kMostNorm = 1.0;

bool is_norm(const Tensor& tensor) {
  return tensor.rows == 1 && tensor.name.ends_with("norm");
}

/// The power of two nearest to the scales' root mean square: exact to divide
/// by.
float unit_of(const CodeMatrix& matrix) {
  double sum = 0;
  for (const float scale : matrix.scales) {
    sum += static_cast<double>(scale) * scale;
  }
  const double mean = sum / static_cast<double>(matrix.scales.size());
  return mean > 0
             ? std::exp2(static_cast<float>(std::rint(0.5 * std::log2(mean))))
             : 1.0f;
}

class Distiller {
 public:
  Distiller(
      const Checkpoint& source,
      const Checkpoint& student,
      const NameSet& trained,
      const DistillOptions& options,
      CodesByName& codes)
      : source_(source),
        student_(student),
        options_(options),
        matrices_(codes) {
    for (const auto& name : trained) {
      take_codes(name, codes.at(name));
    }
  }

  /// False: stopped.
  bool read_source(
      const std::function<void(double, const std::string&)>& progress,
      const std::function<bool()>& stop) {
    return texts_.read(source_, options_.windows, progress, stop);
  }

  void load() {
    TrainableOptions options;
    options.device = DeviceChoice::cpu;
    options.codes = [this](std::string_view name) {
      const auto found = codes_.find(name);
      return found == codes_.end() ? nullptr : found->second;
    };
    // What stays floats stands in hooks too: a stack of matrices is either.
    // Experts have hooks only as codes.
    options.trained = [this](std::string_view name) {
      const Tensor& tensor = student_.at(name);
      const bool matrix = is_quantizable(tensor) &&
                          name.find(".experts.") == std::string_view::npos;
      return matrix || (options_.norms && is_norm(tensor));
    };
    decoder_ = load_trainable(student_, options);
    for (const auto& [name, hook] : decoder_->hooks()) {
      if (hook && hook->coded) {
        add_coded(name, hook);
      } else if (hook && hook->trained && is_norm(student_.at(name))) {
        add_norm(name, hook);
      }
    }
    optimizer_ = Optimizer::make({OptimizerName::adam}, shapes_);
    place(arrays());
  }

  /// Divergence on the windows held out.
  double held_out_loss() {
    double sum = 0;
    double tokens = 0;
    for (const DistillText& text : texts_.held_out()) {
      const double own = static_cast<double>(text.ids.size());
      mx::array loss = loss_of({&text}, LossGradient::none);
      sum += own * static_cast<double>(loss.item<float>());
      tokens += own;
    }
    return tokens > 0 ? sum / tokens : 0;
  }

  DistillResult run(
      const std::function<void(double, const std::string&)>& progress,
      const std::function<bool()>& stop) {
    const Clock::time_point start = Clock::now();
    DistillResult result;
    result.kl_before = best_ = held_out_loss();
    best_values_ = values_;
    const int check = std::max(1, options_.steps / kChecks);
    double share = 0;
    while (result.steps < options_.steps && share < 1 && !(stop && stop())) {
      if (progress) {
        progress(
            share,
            fmt::format(
                "step {} of {}, KL {:.4f} held out",
                result.steps + 1,
                options_.steps,
                best_));
      }
      ++result.steps;
      step(result.steps, rate_at(share));
      share = static_cast<double>(result.steps) / options_.steps;
      if (options_.most_seconds > 0) {
        share = std::max(share, seconds_since(start) / options_.most_seconds);
      }
      if (result.steps % check == 0 || share >= 1) {
        keep_best();
      }
    }
    keep_best();
    values_ = best_values_;
    result.kl_after = best_;
    result.seconds = seconds_since(start);
    return result;
  }

  void give_back(FloatsByName& norms) {
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const Place& place = places_[i];
      if (!place.codes) {
        norms[place.name] = {1, static_cast<int>(shapes_[i].cols), values_[i]};
        continue;
      }
      if (!place.scales) {
        continue;  // with its scales
      }
      CodeMatrix& matrix = matrices_.find(place.name)->second;
      for (std::size_t g = 0; g < matrix.scales.size(); ++g) {
        matrix.scales[g] = place.codes->scale(values_[i][g]);
        matrix.biases[g] = place.codes->bias(values_[i][g], values_[i + 1][g]);
      }
    }
    for (auto& [name, codes] : codes_) {
      matrices_.find(name)->second.codes = std::move(codes->codes);
    }
  }

 private:
  /// One array of values: scales or offsets of codes, or a norm.
  struct Place {
    std::string name;
    GraphHookPtr hook;
    std::shared_ptr<TrainedCodes> codes;
    bool scales = false;
  };

  void take_codes(const std::string& name, CodeMatrix& matrix) {
    auto codes = std::make_shared<TrainedCodes>();
    codes->rows = matrix.rows;
    codes->cols = matrix.cols;
    codes->group_size = matrix.format.group_size;
    codes->middle = 0.5f * static_cast<float>((1 << matrix.format.bits) - 1);
    codes->unit = unit_of(matrix);
    codes->scale_type = matrix.scale_type;
    codes->codes = std::move(matrix.codes);
    codes_.emplace(name, std::move(codes));
  }

  void add_coded(const std::string& name, const GraphHookPtr& hook) {
    const auto& codes = codes_.find(name)->second;
    const CodeMatrix& matrix = matrices_.find(name)->second;
    const TrainedShape shape{
        static_cast<std::size_t>(codes->rows),
        static_cast<std::size_t>(codes->groups())};
    std::vector<float> scales(shape.size());
    std::vector<float> offsets(shape.size());
    for (std::size_t g = 0; g < scales.size(); ++g) {
      scales[g] = matrix.scales[g] / codes->unit;
      offsets[g] = matrix.biases[g] / codes->unit + codes->middle * scales[g];
    }
    places_.push_back({name, hook, codes, true});
    places_.push_back({name, hook, codes, false});
    shapes_.insert(shapes_.end(), 2, shape);
    values_.push_back(std::move(scales));
    values_.push_back(std::move(offsets));
  }

  void add_norm(const std::string& name, const GraphHookPtr& hook) {
    mx::array value = mx::contiguous(*hook->trained);
    mx::eval(value);
    places_.push_back({name, hook, nullptr, false});
    shapes_.push_back({1, value.size()});
    values_.emplace_back(
        value.data<float>(),
        value.data<float>() + value.size());
  }

  /// Over the values as they are now.
  std::vector<mx::array> arrays() {
    std::vector<mx::array> out;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      mx::Shape shape{static_cast<int>(shapes_[i].cols)};
      if (places_[i].codes) {
        shape.insert(shape.begin(), static_cast<int>(shapes_[i].rows));
      }
      out.emplace_back(
          values_[i].data(),
          std::move(shape),
          mx::float32,
          [](void*) {});
    }
    return out;
  }

  void place(const std::vector<mx::array>& arrays) const {
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const Place& place = places_[i];
      if (!place.codes) {
        place.hook->trained = arrays[i];
      } else if (place.scales) {
        place.hook->coded->scales = arrays[i];
      } else {
        place.hook->coded->offsets = arrays[i];
      }
    }
  }

  mx::array loss_of(
      const std::vector<const DistillText*>& texts,
      LossGradient gradient) {
    const bool again =
        gradient == LossGradient::with && can_run_layers_again(source_.spec());
    return texts_.divergence(
        *decoder_,
        texts,
        gradient,
        again ? KeepLayers::none : KeepLayers::all);
  }

  void step(int number, double rate) {
    const auto texts = texts_.next(options_.step_tokens);
    std::vector<int> all(values_.size());
    std::iota(all.begin(), all.end(), 0);
    const auto now = arrays();
    const auto run = [&](const std::vector<mx::array>& in) {
      place(in);
      return std::vector<mx::array>{loss_of(texts, LossGradient::with)};
    };
    auto [losses, gradients] = mx::value_and_grad(run, all)(now);
    place(now);
    std::vector<mx::array> flat;
    for (const auto& gradient : gradients) {
      flat.push_back(mx::contiguous(gradient));
    }
    flat.push_back(losses[0]);
    mx::eval(flat);
    std::vector<std::span<float>> spans;
    std::vector<std::span<float>> weights;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      spans.emplace_back(flat[i].data<float>(), values_[i].size());
      weights.emplace_back(values_[i]);
    }
    if (!std::isfinite(clip_gradients(spans, kMostNorm))) {
      return;
    }
    const std::vector<std::span<const float>> constant(
        spans.begin(),
        spans.end());
    optimizer_->update(weights, constant, static_cast<float>(rate), number);
  }

  /// Up in the first steps, then down by a cosine.
  double rate_at(double share) const {
    if (share < kWarmUp) {
      return options_.learning_rate * (share / kWarmUp * 0.9 + 0.1);
    }
    const double fall = 0.5 * (1 + std::cos(std::numbers::pi * share));
    return options_.learning_rate * (kFinalRate + (1 - kFinalRate) * fall);
  }

  void keep_best() {
    place(arrays());
    const double loss = held_out_loss();
    if (std::isfinite(loss) && loss < best_) {
      best_ = loss;
      best_values_ = values_;
    }
  }

  const Checkpoint& source_;
  const Checkpoint& student_;
  const DistillOptions& options_;
  CodesByName& matrices_;
  std::map<std::string, std::shared_ptr<TrainedCodes>, std::less<>> codes_;
  DistillTexts texts_;
  std::unique_ptr<TrainableDecoder> decoder_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<Place> places_;
  std::vector<TrainedShape> shapes_;
  std::vector<std::vector<float>> values_, best_values_;
  double best_ = 0;
};

}  // namespace

DistillResult distill(
    const Checkpoint& source,
    const Checkpoint& student,
    const NameSet& trained,
    const DistillOptions& options,
    const std::function<void(double share, const std::string& what)>& progress,
    const std::function<bool()>& stop,
    CodesByName& codes,
    FloatsByName& norms) {
  if (options.windows.size() < 2) {
    fail<UserError>(
        "There is too little text to distill with",
        "One window is learned from, another one tells how well",
        "Give a longer --calibration text, or a smaller --window");
  }
  Distiller distiller(source, student, trained, options, codes);
  const bool read = distiller.read_source(progress, stop);
  distiller.load();
  DistillResult result;
  if (read) {
    result = distiller.run(progress, stop);
  }
  distiller.give_back(norms);
  return result;
}

}  // namespace roofline
