#include <array>
#include <cmath>
#include <cstdint>

#include "roofline/train/optimizer_parts.h"

namespace roofline {

namespace {

using namespace optimizer_parts;

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

}  // namespace

std::unique_ptr<Optimizer> optimizer_parts::make_adam8(
    const OptimizerOptions& options,
    const std::vector<TrainedShape>& shapes) {
  return std::make_unique<Adam8>(options, shapes);
}

}  // namespace roofline
