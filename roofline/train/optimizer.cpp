#include "roofline/train/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/train/optimizer_parts.h"

namespace roofline {

namespace {

using namespace optimizer_parts;

constexpr std::array<std::pair<std::string_view, OptimizerName>, 7> kNames = {{
    {"adamw", OptimizerName::adamw},
    {"adam", OptimizerName::adam},
    {"sgd", OptimizerName::sgd},
    {"lion", OptimizerName::lion},
    {"adafactor", OptimizerName::adafactor},
    {"muon", OptimizerName::muon},
    {"adamw8", OptimizerName::adamw8},
}};

/// Adam and AdamW: with a decoupled decay, or one that joins the gradient.
class Adam : public Optimizer {
 public:
  Adam(const OptimizerOptions& o, const std::vector<TrainedShape>& shapes)
      : o_(o), mean_(zeros(shapes)), square_(zeros(shapes)) {}

  void update(Weights w, Gradients g, float rate, std::int64_t step) override {
    const auto t = static_cast<double>(step);
    const auto first = static_cast<float>(1 / (1 - std::pow(o_.beta1, t)));
    const auto second = static_cast<float>(1 / (1 - std::pow(o_.beta2, t)));
    const bool decoupled = o_.name == OptimizerName::adamw;
    const float keep = decoupled ? 1 - rate * o_.weight_decay : 1.0f;
    const float joined = decoupled ? 0.0f : o_.weight_decay;
    for (std::size_t i = 0; i < w.size(); ++i) {
      float* x = w[i].data();
      const float* d = g[i].data();
      float* m = mean_[i].data();
      float* v = square_[i].data();
      in_pieces(w[i].size(), [&](std::size_t begin, std::size_t end) {
        for (auto k = begin; k < end; ++k) {
          const float grad = d[k] + joined * x[k];
          m[k] = o_.beta1 * m[k] + (1 - o_.beta1) * grad;
          v[k] = o_.beta2 * v[k] + (1 - o_.beta2) * grad * grad;
          const float divisor = std::sqrt(v[k] * second) + o_.eps;
          x[k] = keep * x[k] - rate * (m[k] * first) / divisor;
        }
      });
    }
  }

  std::vector<StateBuffer> state() override {
    std::vector<StateBuffer> out;
    list(out, "mean", mean_);
    list(out, "square", square_);
    return out;
  }

 private:
  OptimizerOptions o_;
  std::vector<Floats> mean_, square_;
};

class Sgd : public Optimizer {
 public:
  Sgd(const OptimizerOptions& o, const std::vector<TrainedShape>& shapes)
      : o_(o) {
    if (o.momentum != 0.0f) {
      velocity_ = zeros(shapes);
    }
  }

  void update(Weights w, Gradients g, float rate, std::int64_t) override {
    for (std::size_t i = 0; i < w.size(); ++i) {
      in_pieces(w[i].size(), [&](std::size_t begin, std::size_t end) {
        for (auto k = begin; k < end; ++k) {
          float d = g[i][k] + o_.weight_decay * w[i][k];
          if (!velocity_.empty()) {
            d = velocity_[i][k] = o_.momentum * velocity_[i][k] + d;
          }
          w[i][k] -= rate * d;
        }
      });
    }
  }

  std::vector<StateBuffer> state() override {
    std::vector<StateBuffer> out;
    list(out, "velocity", velocity_);
    return out;
  }

 private:
  OptimizerOptions o_;
  std::vector<Floats> velocity_;
};

class Lion : public Optimizer {
 public:
  Lion(const OptimizerOptions& o, const std::vector<TrainedShape>& shapes)
      : o_(o), mean_(zeros(shapes)) {}

  void update(Weights w, Gradients g, float rate, std::int64_t) override {
    for (std::size_t i = 0; i < w.size(); ++i) {
      in_pieces(w[i].size(), [&](std::size_t begin, std::size_t end) {
        for (auto k = begin; k < end; ++k) {
          float& m = mean_[i][k];
          const float d = g[i][k];
          const float c = o_.beta1 * m + (1 - o_.beta1) * d;
          const float sign = c > 0 ? 1.0f : c < 0 ? -1.0f : 0.0f;
          w[i][k] -= rate * (sign + o_.weight_decay * w[i][k]);
          m = o_.beta2 * m + (1 - o_.beta2) * d;
        }
      });
    }
  }

  std::vector<StateBuffer> state() override {
    std::vector<StateBuffer> out;
    list(out, "mean", mean_);
    return out;
  }

 private:
  OptimizerOptions o_;
  std::vector<Floats> mean_;
};

}  // namespace

OptimizerName parse_optimizer(std::string_view name) {
  std::vector<std::string> known;
  for (const auto& [text, value] : kNames) {
    if (text == name) {
      return value;
    }
    known.emplace_back(text);
  }
  fail<UserError>(
      fmt::format("There is no optimizer {}", name),
      did_you_mean(name, known),
      fmt::format("Use one of {}", fmt::join(known, ", ")));
}

std::string_view optimizer_name(OptimizerName name) {
  for (const auto& [text, value] : kNames) {
    if (value == name) {
      return text;
    }
  }
  return "";
}

std::unique_ptr<Optimizer> Optimizer::make(
    const OptimizerOptions& options,
    const std::vector<TrainedShape>& shapes) {
  switch (options.name) {
    case OptimizerName::adamw:
    case OptimizerName::adam:
      return std::make_unique<Adam>(options, shapes);
    case OptimizerName::sgd:
      return std::make_unique<Sgd>(options, shapes);
    case OptimizerName::lion:
      return std::make_unique<Lion>(options, shapes);
    case OptimizerName::adafactor:
      return make_adafactor(options, shapes);
    case OptimizerName::muon:
      return make_muon(options, shapes);
    case OptimizerName::adamw8:
      break;
  }
  return make_adam8(options, shapes);
}

double clip_gradients(
    std::span<const std::span<float>> gradients,
    double max_norm) {
  double sum = 0;
  for (const auto& gradient : gradients) {
    sum += mean_square(gradient) * static_cast<double>(gradient.size());
  }
  const double norm = std::sqrt(sum);
  if (max_norm > 0 && norm > max_norm) {
    const auto factor = static_cast<float>(max_norm / norm);
    for (const auto& gradient : gradients) {
      for (float& value : gradient) {
        value *= factor;
      }
    }
  }
  return norm;
}

}  // namespace roofline
