#include <cmath>

#include "roofline/train/muon.h"
#include "roofline/train/optimizer_parts.h"

namespace roofline {

namespace {

using namespace optimizer_parts;

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

std::unique_ptr<Optimizer> optimizer_parts::make_adafactor(
    const OptimizerOptions& options,
    const std::vector<TrainedShape>& shapes) {
  return std::make_unique<Adafactor>(options, shapes);
}

std::unique_ptr<Optimizer> optimizer_parts::make_muon(
    const OptimizerOptions& options,
    const std::vector<TrainedShape>& shapes) {
  return std::make_unique<Muon>(options, shapes);
}

}  // namespace roofline
