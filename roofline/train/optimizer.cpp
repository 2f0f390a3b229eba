#include "roofline/train/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/thread_pool.h"
#include "roofline/train/muon.h"

namespace roofline {

namespace {

using Floats = std::vector<float>;
using Weights = std::span<const std::span<float>>;
using Gradients = std::span<const std::span<const float>>;

constexpr std::array<std::pair<std::string_view, OptimizerName>, 7> kNames = {{
    {"adamw", OptimizerName::adamw},
    {"adam", OptimizerName::adam},
    {"sgd", OptimizerName::sgd},
    {"lion", OptimizerName::lion},
    {"adafactor", OptimizerName::adafactor},
    {"muon", OptimizerName::muon},
    {"adamw8", OptimizerName::adamw8},
}};

/// Runs fn(begin, end) over pieces of n values.
template <class Fn>
void in_pieces(std::size_t n, Fn fn) {
  constexpr std::size_t kPiece = 1 << 14;  // some microseconds of work
  auto piece = [&](int index, int) {
    const auto begin = static_cast<std::size_t>(index) * kPiece;
    fn(begin, std::min(n, begin + kPiece));
  };
  ThreadPool::global().run(static_cast<int>((n + kPiece - 1) / kPiece), piece);
}

std::vector<Floats> zeros(const std::vector<TrainedShape>& shapes) {
  std::vector<Floats> buffers;
  for (const auto& shape : shapes) {
    buffers.emplace_back(shape.size(), 0.0f);
  }
  return buffers;
}

template <class T>
void list(
    std::vector<StateBuffer>& out,
    const char* name,
    std::vector<std::vector<T>>& buffers) {
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    out.push_back(
        {fmt::format("{}.{}", name, i),
         std::as_writable_bytes(std::span(buffers[i]))});
  }
}

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

/// AdamW whose state is in bytes: blocks of 256 with a scale each. Squares are
/// held as square roots of roots, so that small ones keep their digits; what
/// rounds to zero becomes the smallest code, as a divisor must.
class Adam8 : public Optimizer {
 public:
  Adam8(const OptimizerOptions& o, const std::vector<TrainedShape>& shapes)
      : o_(o) {
    for (const auto& shape : shapes) {
      const auto blocks = (shape.size() + kBlock - 1) / kBlock;
      mean_.emplace_back(shape.size(), std::int8_t{0});
      square_.emplace_back(shape.size(), std::uint8_t{0});
      scales_.emplace_back(2 * blocks, 0.0f);
    }
  }

  void update(Weights w, Gradients g, float rate, std::int64_t step) override {
    const auto t = static_cast<double>(step);
    const auto first = static_cast<float>(1 / (1 - std::pow(o_.beta1, t)));
    const auto second = static_cast<float>(1 / (1 - std::pow(o_.beta2, t)));
    for (std::size_t i = 0; i < w.size(); ++i) {
      const auto size = w[i].size();
      const auto blocks = (size + kBlock - 1) / kBlock;
      auto piece = [&](int block, int) {
        const auto begin = static_cast<std::size_t>(block) * kBlock;
        const auto end = std::min(size, begin + kBlock);
        Block values;
        load(i, static_cast<std::size_t>(block), begin, end, values);
        for (auto k = begin; k < end; ++k) {
          float& m = values.mean[k - begin];
          float& v = values.square[k - begin];
          const float grad = g[i][k];
          m = o_.beta1 * m + (1 - o_.beta1) * grad;
          v = o_.beta2 * v + (1 - o_.beta2) * grad * grad;
          const float divisor = std::sqrt(v * second) + o_.eps;
          w[i][k] = (1 - rate * o_.weight_decay) * w[i][k] -
                    rate * (m * first) / divisor;
        }
        store(i, static_cast<std::size_t>(block), begin, end, values);
      };
      ThreadPool::global().run(static_cast<int>(blocks), piece);
    }
  }

  std::vector<StateBuffer> state() override {
    std::vector<StateBuffer> out;
    list(out, "mean", mean_);
    list(out, "square", square_);
    list(out, "scales", scales_);
    return out;
  }

 private:
  static constexpr std::size_t kBlock = 256;
  struct Block {
    std::array<float, kBlock> mean, square;
  };

  void load(
      std::size_t i,
      std::size_t block,
      std::size_t begin,
      std::size_t end,
      Block& values) const {
    const float mean = scales_[i][2 * block];
    const float root = scales_[i][2 * block + 1];
    for (auto k = begin; k < end; ++k) {
      const float m = static_cast<float>(mean_[i][k]) / 127.0f;
      values.mean[k - begin] = mean * m * std::fabs(m);
      const float r = root * static_cast<float>(square_[i][k]) / 255.0f;
      values.square[k - begin] = r * r * r * r;
    }
  }

  void store(
      std::size_t i,
      std::size_t block,
      std::size_t begin,
      std::size_t end,
      const Block& values) {
    float mean = 0;
    float square = 0;
    for (auto k = begin; k < end; ++k) {
      mean = std::max(mean, std::fabs(values.mean[k - begin]));
      square = std::max(square, values.square[k - begin]);
    }
    const float root = std::sqrt(std::sqrt(square));
    scales_[i][2 * block] = mean;
    scales_[i][2 * block + 1] = root;
    for (auto k = begin; k < end; ++k) {
      const float m = mean > 0 ? values.mean[k - begin] / mean : 0.0f;
      mean_[i][k] = static_cast<std::int8_t>(
          std::lround(std::copysign(std::sqrt(std::fabs(m)), m) * 127.0f));
      const float v = values.square[k - begin];
      const float r = root > 0 ? std::sqrt(std::sqrt(v)) / root : 0.0f;
      // Rounded up: a divisor that is too small would make a leap.
      square_[i][k] =
          static_cast<std::uint8_t>(std::min(255.0f, std::ceil(r * 255.0f)));
    }
  }

  OptimizerOptions o_;
  std::vector<std::vector<std::int8_t>> mean_;
  std::vector<std::vector<std::uint8_t>> square_;
  std::vector<Floats> scales_;
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

double mean_square(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) {
    sum += static_cast<double>(value) * value;
  }
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

/// With a factored second moment for matrices, no momentum, the given learning
/// rate (not a relative one) and updates clipped at a root mean square of one.
class Adafactor : public Optimizer {
 public:
  Adafactor(const OptimizerOptions& o, const std::vector<TrainedShape>& shapes)
      : o_(o), shapes_(shapes) {
    for (const auto& shape : shapes) {
      rows_.emplace_back(shape.rows > 1 ? shape.rows : 0, 0.0f);
      cols_.emplace_back(shape.cols, 0.0f);
    }
  }

  void update(Weights w, Gradients g, float rate, std::int64_t step) override {
    const auto decay =
        static_cast<float>(1 - std::pow(static_cast<double>(step), -0.8));
    for (std::size_t i = 0; i < w.size(); ++i) {
      Floats u(g[i].begin(), g[i].end());
      gather(i, g[i], decay);
      divide(i, u);
      const auto size = static_cast<float>(std::sqrt(mean_square(u)));
      const float factor = rate / std::max(1.0f, size);
      for (std::size_t k = 0; k < u.size(); ++k) {
        w[i][k] = w[i][k] * (1 - rate * o_.weight_decay) - factor * u[k];
      }
    }
  }

  std::vector<StateBuffer> state() override {
    std::vector<StateBuffer> out;
    list(out, "rows", rows_);
    list(out, "cols", cols_);
    return out;
  }

 private:
  static constexpr float kEps = 1e-30f;

  /// Running means of the squares, over rows and over columns.
  void gather(std::size_t i, std::span<const float> g, float decay) {
    const auto [rows, cols] = shapes_[i];
    Floats col_sums(cols, 0.0f);
    for (std::size_t r = 0; r < rows; ++r) {
      float sum = 0;
      for (std::size_t c = 0; c < cols; ++c) {
        const float square = g[r * cols + c] * g[r * cols + c] + kEps;
        sum += square;
        col_sums[c] += square;
      }
      if (rows > 1) {
        rows_[i][r] =
            decay * rows_[i][r] + (1 - decay) * sum / static_cast<float>(cols);
      }
    }
    for (std::size_t c = 0; c < cols; ++c) {
      cols_[i][c] = decay * cols_[i][c] +
                    (1 - decay) * col_sums[c] / static_cast<float>(rows);
    }
  }

  void divide(std::size_t i, Floats& u) const {
    const auto [rows, cols] = shapes_[i];
    double mean = 0;
    for (const float row : rows_[i]) {
      mean += row / static_cast<double>(rows);
    }
    for (std::size_t r = 0; r < rows; ++r) {
      const float row =
          rows > 1 ? rows_[i][r] / static_cast<float>(mean) : 1.0f;
      for (std::size_t c = 0; c < cols; ++c) {
        u[r * cols + c] /= std::sqrt(row * cols_[i][c]);
      }
    }
  }

  OptimizerOptions o_;
  std::vector<TrainedShape> shapes_;
  std::vector<Floats> rows_, cols_;
};

/// Momentum whose direction is made orthogonal, for matrices; AdamW's rule for
/// vectors. The update is scaled to AdamW's size, so that its rates fit.
class Muon : public Optimizer {
 public:
  Muon(const OptimizerOptions& o, const std::vector<TrainedShape>& shapes)
      : o_(o), shapes_(shapes), mean_(zeros(shapes)), square_(shapes.size()) {
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      if (shapes[i].rows == 1) {
        square_[i].assign(shapes[i].size(), 0.0f);
      }
    }
  }

  void update(Weights w, Gradients g, float rate, std::int64_t step) override {
    constexpr float kMomentum = 0.95f;
    const auto t = static_cast<double>(step);
    const auto first = static_cast<float>(1 / (1 - std::pow(o_.beta1, t)));
    const auto second = static_cast<float>(1 / (1 - std::pow(o_.beta2, t)));
    for (std::size_t i = 0; i < w.size(); ++i) {
      const auto [rows, cols] = shapes_[i];
      Floats u(w[i].size());
      for (std::size_t k = 0; k < u.size(); ++k) {
        const float d = g[i][k];
        float& m = mean_[i][k];
        if (rows == 1) {
          float& v = square_[i][k];
          m = o_.beta1 * m + (1 - o_.beta1) * d;
          v = o_.beta2 * v + (1 - o_.beta2) * d * d;
          u[k] = m * first / (std::sqrt(v * second) + o_.eps);
        } else {
          m = kMomentum * m + d;
          u[k] = d + kMomentum * m;  // Nesterov
        }
      }
      if (rows > 1) {
        orthogonalize(u, static_cast<int>(rows), static_cast<int>(cols));
        const float size =
            0.2f * std::sqrt(static_cast<float>(std::max(rows, cols)));
        for (float& value : u) {
          value *= size;
        }
      }
      for (std::size_t k = 0; k < u.size(); ++k) {
        w[i][k] = w[i][k] * (1 - rate * o_.weight_decay) - rate * u[k];
      }
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
  std::vector<TrainedShape> shapes_;
  std::vector<Floats> mean_, square_;
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
      return std::make_unique<Adafactor>(options, shapes);
    case OptimizerName::muon:
      return std::make_unique<Muon>(options, shapes);
    case OptimizerName::adamw8:
      break;
  }
  return std::make_unique<Adam8>(options, shapes);
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
