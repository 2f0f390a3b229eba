#include "roofline/quantize/distill.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/kernels/coded_weight.h"
#include "roofline/model/trainable_decoder.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/plan_formats.h"
#include "roofline/train/batches.h"
#include "roofline/train/optimizer.h"

namespace roofline {

namespace {

/// One window in so many is held out, at most kMostHeldOut.
constexpr std::size_t kHeldOutOf = 10;
constexpr std::size_t kMostHeldOut = 8;
/// Looks at the windows held out.
constexpr int kChecks = 6;
/// Shares of the steps, and of the rate that is left at the end.
constexpr double kWarmUp = 0.05;
constexpr double kFinalRate = 0.05;
constexpr double kMostNorm = 1.0;

double seconds_now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

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

struct Text {
  std::vector<std::int32_t> ids;
  std::vector<float> teacher;  ///< [tokens, dim]
};

class Distiller {
 public:
  Distiller(
      const Checkpoint& source,
      const Checkpoint& student,
      const DistillOptions& options,
      CodesByName& codes)
      : source_(source),
        student_(student),
        options_(options),
        matrices_(codes) {
    std::vector<std::string> trained;
    for (const auto& [name, matrix] : codes) {
      if (is_distilled(source, codes, name)) {
        trained.push_back(name);
      }
    }
    for (const auto& name : trained) {
      take_codes(name, codes.find(name)->second);
    }
  }

  /// False: stopped.
  bool read_source(
      const std::function<void(double, const std::string&)>& progress,
      const std::function<bool()>& stop) {
    const TextStream stream =
        run_all_layers(source_, options_.windows, [&](double share) {
          if (progress) {
            progress(share, "reading the source's predictions");
          }
          return !(stop && stop());
        });
    if (stop && stop()) {
      return false;
    }
    const char* name = source_.spec().tied_embeddings ? "embed" : "head";
    const LayeredModel::Head head(source_.spec(), source_);
    for (std::size_t i = 0; i < options_.windows.size(); ++i) {
      auto rows = mx::contiguous(head.normed(stream.at(i)));
      mx::eval(rows);
      Text text{options_.windows[i], {}};
      text.teacher.assign(rows.data<float>(), rows.data<float>() + rows.size());
      const bool held =
          i % kHeldOutOf == kHeldOutOf / 2 && held_out_.size() < kMostHeldOut;
      (held ? held_out_ : texts_).push_back(std::move(text));
    }
    if (held_out_.empty() && texts_.size() > 1) {
      held_out_.push_back(std::move(texts_.back()));
      texts_.pop_back();
    }
    head_ = std::make_shared<FloatMatrix>(
        read_matrix(source_.at(name), ThreadPool::global()));
    return true;
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
    for (const Text& text : held_out_) {
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
    const double start = seconds_now();
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
        share =
            std::max(share, (seconds_now() - start) / options_.most_seconds);
      }
      if (result.steps % check == 0 || share >= 1) {
        keep_best();
      }
    }
    keep_best();
    values_ = best_values_;
    result.kl_after = best_;
    result.seconds = seconds_now() - start;
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

  /// Mean divergence of the texts' tokens.
  mx::array loss_of(
      const std::vector<const Text*>& texts,
      LossGradient gradient) {
    std::vector<std::int32_t> ids;
    std::vector<int> first{0};
    auto targets = std::make_shared<TokenTargets>();
    std::vector<float> rows;
    for (const Text* text : texts) {
      ids.insert(ids.end(), text->ids.begin(), text->ids.end());
      first.push_back(static_cast<int>(ids.size()));
      rows.insert(rows.end(), text->teacher.begin(), text->teacher.end());
    }
    // Scale and softcap are the model's own; divergence is all of the loss.
    TokenHead theirs = decoder_->token_head();
    theirs.trained.reset();
    theirs.matrix =
        float_matrix(head_->values.data(), head_->rows, head_->cols);
    theirs.memory = head_;
    theirs.products = GemmType::f32;
    targets->teacher = std::make_shared<const TokenTeacher>(TokenTeacher{
        mx::array(rows.data(), {static_cast<int>(ids.size()), head_->cols}),
        theirs,
        1.0f,
        1.0f});
    targets->targets.assign(ids.size(), 0);
    targets->weights.assign(ids.size(), 1.0f / static_cast<float>(ids.size()));
    const bool again =
        gradient == LossGradient::with && can_run_layers_again(source_.spec());
    const auto hidden = decoder_->hidden(
        {ids, first},
        again ? KeepLayers::none : KeepLayers::all);
    return mx::reshape(
        token_loss(hidden, decoder_->token_head(), targets, gradient).loss,
        {});
  }

  std::vector<const Text*> next_texts() {
    std::vector<const Text*> out;
    std::size_t tokens = 0;
    while (out.empty() || tokens + out.back()->ids.size() <=
                              static_cast<std::size_t>(options_.step_tokens)) {
      if (order_.empty()) {
        order_.resize(texts_.size());
        std::iota(order_.begin(), order_.end(), std::size_t{0});
        for (std::size_t i = order_.size(); i > 1; --i) {
          std::swap(order_[i - 1], order_[next_random(random_) % i]);
        }
      }
      out.push_back(&texts_[order_.back()]);
      order_.pop_back();
      tokens += out.back()->ids.size();
    }
    return out;
  }

  void step(int number, double rate) {
    const auto texts = next_texts();
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
  std::vector<Text> texts_, held_out_;
  std::shared_ptr<FloatMatrix> head_;
  std::unique_ptr<TrainableDecoder> decoder_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<Place> places_;
  std::vector<TrainedShape> shapes_;
  std::vector<std::vector<float>> values_, best_values_;
  double best_ = 0;
  std::vector<std::size_t> order_;
  std::uint64_t random_ = 7;
};

}  // namespace

bool is_distilled(
    const Checkpoint& checkpoint,
    const CodesByName& codes,
    const std::string& name) {
  const auto affine = [&](const std::string& one) {
    const auto found = codes.find(one);
    return found != codes.end() &&
           found->second.format.mode == QuantMode::affine;
  };
  if (!affine(name)) {
    return false;
  }
  const std::string stack = expert_stack(name);
  if (stack.empty()) {
    return true;
  }
  std::string each;
  for (int e = 0; checkpoint.find(each = expert_name(stack, e)); ++e) {
    if (!affine(each)) {
      return false;
    }
  }
  return true;
}

DistillResult distill(
    const Checkpoint& source,
    const Checkpoint& student,
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
  Distiller distiller(source, student, options, codes);
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
