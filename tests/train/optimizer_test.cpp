#include "roofline/train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/train/muon.h"
#include "roofline/weights/json_file.h"

namespace roofline {
namespace {

/// One optimizer on one matrix of 4 × 6, driven by given gradients.
struct Driven {
  explicit Driven(OptimizerOptions options, float start = 1.0f)
      : weights(24, start), made(Optimizer::make(options, {{4, 6}})) {}

  void step(std::vector<float> gradient, float rate = 0.1f) {
    const std::span<float> w[] = {weights};
    const std::span<const float> g[] = {gradient};
    made->update(w, g, rate, ++count);
  }

  std::vector<float> weights;
  std::unique_ptr<Optimizer> made;
  int count = 0;
};

std::vector<float> ramp(float scale) {
  std::vector<float> g;
  for (int i = 0; i < 24; ++i) {
    g.push_back(scale * static_cast<float>(i - 11));
  }
  return g;
}

TEST(Optimizer, AdamwFollowsItsRuleByHand) {
  OptimizerOptions options;
  options.weight_decay = 0.5f;
  Driven d(options);
  d.step(std::vector<float>(24, 2.0f));
  // The first step is rate · sign; decay is apart from it.
  EXPECT_NEAR(d.weights[0], 1 - 0.1 * 0.5 - 0.1, 1e-6);
  d.step(std::vector<float>(24, -1.0f));
  const double m = (0.9 * 0.2 - 0.1) / (1 - 0.81);
  const double v = (0.999 * 0.004 + 0.001) / (1 - 0.998001);
  const double expected = 0.85 * (1 - 0.05) - 0.1 * m / std::sqrt(v);
  EXPECT_NEAR(d.weights[0], expected, 1e-5);
}

TEST(Optimizer, AdamsDecayJoinsTheGradient) {
  OptimizerOptions options;
  options.name = OptimizerName::adam;
  options.weight_decay = 0.5f;
  Driven d(options);
  d.step(std::vector<float>(24, -0.5f));  // the decay's 0.5·1 cancels it
  EXPECT_NEAR(d.weights[0], 1, 1e-6);
}

TEST(Optimizer, SgdAndLionFollowTheirRules) {
  OptimizerOptions options;
  options.name = OptimizerName::sgd;
  options.momentum = 0.5f;
  Driven sgd(options);
  sgd.step(std::vector<float>(24, 1.0f));
  sgd.step(std::vector<float>(24, 1.0f));
  EXPECT_NEAR(sgd.weights[0], 1 - 0.1 - 0.15, 1e-6);
  options.name = OptimizerName::lion;
  options.beta2 = 0.99f;
  Driven lion(options);
  lion.step(ramp(1e-3f));
  EXPECT_NEAR(lion.weights[0], 1.1, 1e-6);
  EXPECT_NEAR(lion.weights[11], 1.0, 1e-6) << "no gradient, no step";
  EXPECT_NEAR(lion.weights[23], 0.9, 1e-6);
}

TEST(Optimizer, EightBitStatesStayNearWholeOnes) {
  OptimizerOptions options;
  Driven whole(options);
  options.name = OptimizerName::adamw8;
  Driven small(options);
  for (int i = 1; i <= 10; ++i) {
    const auto g = ramp(0.1f * static_cast<float>(i % 3 + 1));
    whole.step(g, 0.01f);
    small.step(g, 0.01f);
  }
  for (std::size_t i = 0; i < 24; ++i) {
    EXPECT_NEAR(small.weights[i], whole.weights[i], 0.02) << i;
  }
  std::size_t bytes = 0;
  for (const auto& buffer : small.made->state()) {
    bytes += buffer.bytes.size();
  }
  EXPECT_EQ(bytes, 24u * 2 + 8);
}

TEST(Optimizer, EachOneDescendsABowl) {
  for (const auto name :
       {OptimizerName::adamw,
        OptimizerName::adam,
        OptimizerName::sgd,
        OptimizerName::lion,
        OptimizerName::adafactor,
        OptimizerName::muon,
        OptimizerName::adamw8}) {
    OptimizerOptions options;
    options.name = name;
    Driven d(options, 0.0f);
    const auto target = ramp(0.05f);
    const auto loss = [&] {
      double sum = 0;
      for (std::size_t i = 0; i < 24; ++i) {
        sum += std::pow(d.weights[i] - target[i], 2);
      }
      return sum;
    };
    const double before = loss();
    for (int i = 0; i < 60; ++i) {
      std::vector<float> g(24);
      for (std::size_t k = 0; k < 24; ++k) {
        g[k] = 2 * (d.weights[k] - target[k]);
      }
      const bool other =
          name == OptimizerName::sgd || name == OptimizerName::muon;
      d.step(g, other ? 0.05f : 0.02f);
    }
    EXPECT_LT(loss(), 0.25 * before) << optimizer_name(name);
  }
}

TEST(Optimizer, MuonsDirectionIsNearlyOrthogonal) {
  for (const auto& [rows, cols] : {std::pair{3, 7}, {7, 3}}) {
    std::vector<float> g;
    for (int i = 0; i < rows * cols; ++i) {
      g.push_back(std::sin(static_cast<float>(i * i)));
    }
    orthogonalize(g, rows, cols);
    const int n = std::min(rows, cols);
    for (int a = 0; a < n; ++a) {
      for (int b = 0; b < n; ++b) {
        double dot = 0;
        for (int k = 0; k < std::max(rows, cols); ++k) {
          const auto at = [&](int i) {
            return g[static_cast<std::size_t>(
                cols > rows ? i * cols + k : k * cols + i)];
          };
          dot += static_cast<double>(at(a)) * at(b);
        }
        EXPECT_NEAR(dot, a == b ? 1 : 0, 0.5) << a << ", " << b;
      }
    }
  }
}

TEST(Optimizer, ClippingScalesAllGradientsTogether) {
  std::vector<float> a{3, 0};
  std::vector<float> b{0, 4};
  const std::span<float> both[] = {a, b};
  EXPECT_NEAR(clip_gradients(both, 10), 5, 1e-6);
  EXPECT_EQ(a[0], 3);
  EXPECT_NEAR(clip_gradients(both, 1), 5, 1e-6);
  EXPECT_NEAR(a[0], 0.6, 1e-6);
  EXPECT_NEAR(b[1], 0.8, 1e-6);
}

/// Twelve steps of make_optimizers.py.
TEST(Optimizer, EachOneGoesWherePyTorchsOrMlxsGoes) {
  const auto recorded = read_json_file(
      std::filesystem::path(ROOFLINE_GOLDENS) / "../train/optimizers.json");
  ASSERT_EQ(recorded["weights"].size(), 6u);
  for (const auto& [name, expected] : recorded["weights"].items()) {
    OptimizerOptions options;
    options.name = parse_optimizer(name);
    options.weight_decay = recorded["weight_decay"];
    options.momentum = recorded["momentum"];
    std::vector<TrainedShape> shapes;
    std::vector<std::vector<float>> weights;
    for (const auto& shape : recorded["shapes"]) {
      shapes.push_back({shape[0], shape[1]});
      weights.emplace_back(shapes.back().size());
      for (std::size_t i = 0; i < weights.back().size(); ++i) {
        weights.back()[i] =
            static_cast<float>(std::sin(1.0 + static_cast<double>(i)));
      }
    }
    const auto optimizer = Optimizer::make(options, shapes);
    for (int step = 1; step <= recorded["steps"]; ++step) {
      auto gradients = weights;
      for (auto& each : gradients) {
        for (float& value : each) {
          value =
              0.5f * value + 0.3f * std::cos(0.7f * static_cast<float>(step));
        }
      }
      optimizer->update(
          std::vector<std::span<float>>(weights.begin(), weights.end()),
          std::vector<std::span<const float>>(
              gradients.begin(),
              gradients.end()),
          recorded["learning_rate"],
          step);
    }
    // PyTorch's muon multiplies in bfloat16.
    const double tolerance = name == "muon" ? 0.03 : 2e-5;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      for (std::size_t k = 0; k < weights[i].size(); ++k) {
        EXPECT_NEAR(weights[i][k], expected[i][k].get<double>(), tolerance)
            << name << ", shape " << i << ", value " << k;
      }
    }
  }
}

TEST(Optimizer, AnUnknownNameIsRefused) {
  EXPECT_THROW(parse_optimizer("adamx"), UserError);
}

}  // namespace
}  // namespace roofline
