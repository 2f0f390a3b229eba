// Gradients: of one large batch, of every path, against slopes.
#include "roofline/train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include <mlx/device.h>

#include "roofline/base/errors.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

using testing::difference;
using testing::Gradient;
using testing::largest;
using testing::open_golden;
using testing::pieces_of;
using testing::small_lora;
using testing::stir;
using testing::Training;

class TrainerTest : public ::testing::TestWithParam<std::string> {};

TEST_P(TrainerTest, AccumulatedBatchesAreOneLargeBatch) {
  const auto golden = open_golden(GetParam());
  const auto data = pieces_of(golden);
  Training t(golden, data, small_lora());
  stir(t.trainer);
  Gradient whole;
  Gradient parts;
  const double loss = t.trainer.gradient_of({{0, 1, 2, 3}}, 1, whole);
  const double sum = t.trainer.gradient_of({{0, 2}, {1}, {3}}, 1, parts);
  EXPECT_NEAR(loss, sum, 1e-5);
  EXPECT_GT(largest(whole), 1e-3);
  EXPECT_LT(difference(whole, parts), 1e-5 * (1 + largest(whole)));
}

TEST_P(TrainerTest, GradientsComeFromTheLastLayerToTheFirst) {
  const auto golden = open_golden(GetParam());
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.method = AdaptMethod::full;
  Training t(golden, data, options);
  const auto& parameters = t.trainer.parameters();
  std::vector<int> seen(parameters.count());
  std::vector<std::string> order;
  for (const auto& part : parameters.way_back()) {
    std::set<std::string> of;
    for (const int i : part) {
      ++seen[static_cast<std::size_t>(i)];
      const auto& name = parameters.names()[static_cast<std::size_t>(i)];
      of.insert(
          name.starts_with("layers.") ? name.substr(0, 8)
          : name == "embed"           ? "embed"
                                      : "after");
    }
    ASSERT_EQ(of.size(), 1u);
    order.push_back(*of.begin());
  }
  EXPECT_EQ(seen, std::vector<int>(parameters.count(), 1));
  const auto layers = t.decoder->spec().layers.size();
  std::vector<std::string> expected = {"after"};
  for (std::size_t i = layers; i-- > 0;) {
    expected.push_back("layers." + std::to_string(i));
  }
  expected.push_back("embed");
  EXPECT_EQ(order, expected);
}

TEST_P(TrainerTest, LayersThatAreComputedAgainGiveTheSameGradient) {
  const auto golden = open_golden(GetParam());
  const auto data = pieces_of(golden);
  for (const auto method :
       {AdaptMethod::lora, AdaptMethod::dora, AdaptMethod::full}) {
    auto options = small_lora();
    options.method = method;
    Training kept(golden, data, options);
    options.checkpoint_layers = true;
    Training again(golden, data, options);
    stir(kept.trainer);
    stir(again.trainer);
    Gradient a;
    Gradient b;
    EXPECT_NEAR(
        kept.trainer.gradient_of({{0, 1, 2}}, 1, a),
        again.trainer.gradient_of({{0, 1, 2}}, 1, b),
        1e-5);
    EXPECT_LT(difference(a, b), 1e-5 * (1 + largest(a)));
  }
}

/// The gradient of a step elsewhere against that of the kernels.
void expect_same_gradient(const std::string& name, testing::Where where) {
  const auto golden = open_golden(name);
  const auto data = pieces_of(golden);
  for (const auto method : {AdaptMethod::lora, AdaptMethod::full}) {
    for (const bool again : {false, true}) {
      auto options = small_lora();
      options.method = method;
      options.checkpoint_layers = again;
      Gradient a;
      Gradient b;
      Training kernels(golden, data, options);
      stir(kernels.trainer);
      const double want = kernels.trainer.gradient_of({{0, 1, 2}}, 1, a);
      Training other(golden, data, options, where);
      stir(other.trainer);
      EXPECT_NEAR(other.trainer.gradient_of({{0, 1, 2}}, 1, b), want, 1e-4);
      EXPECT_LT(difference(a, b), 1e-4 * (1 + largest(a)));
    }
  }
}

TEST_P(TrainerTest, MlxOpsGiveTheSameGradientAsTheKernels) {
  expect_same_gradient(GetParam(), testing::Where::cpu_in_mlx_ops);
}

TEST_P(TrainerTest, AGpuGivesTheSameGradientAsTheKernels) {
  if (!mx::is_available(mx::Device::gpu)) {
    GTEST_SKIP() << "there is no GPU";
  }
  ::setenv("MLX_ENABLE_TF32", "0", 1);
  expect_same_gradient(GetParam(), testing::Where::gpu);
}

TEST(TrainerMlxOps, TakesASampleLongerThanAStepOfDecoding) {
  const auto golden = open_golden("llama");
  std::vector<std::int32_t> ids;
  while (ids.size() < 600) {
    ids.insert(ids.end(), golden.ids[0].begin(), golden.ids[0].begin() + 40);
  }
  Dataset data;
  data.examples.push_back({testing::sample_of(ids), {}});
  for (const bool again : {false, true}) {
    auto options = small_lora();
    options.checkpoint_layers = again;
    Gradient a;
    Gradient b;
    Training kernels(golden, data, options);
    Training ops(golden, data, options, testing::Where::cpu_in_mlx_ops);
    EXPECT_NEAR(
        kernels.trainer.gradient_of({{0}}, 1, a),
        ops.trainer.gradient_of({{0}}, 1, b),
        1e-4);
    EXPECT_LT(difference(a, b), 1e-4 * (1 + largest(a)));
  }
}

/// How a slope is taken, and how near it must be to the gradient's length.
struct SlopeCheck {
  double step;
  double slack;
  double least_length;  ///< shorter gradients have no slope to speak of
};

/// Every third parameter from `first` on: the slope of the loss along the
/// gradient itself is the gradient's length.
void expect_slopes(
    Trainer& trainer,
    std::size_t first,
    const SlopeCheck& check) {
  Gradient gradient;
  Gradient unused;
  trainer.gradient_of({{0, 3}}, 1, gradient);
  EXPECT_GT(largest(gradient), 1e-3);
  auto values = trainer.parameters().values();
  for (std::size_t i = first; i < values.size(); i += 3) {
    double square = 0;
    for (const float g : gradient[i]) {
      square += static_cast<double>(g) * g;
    }
    const double length = std::sqrt(square);
    if (length < check.least_length) {
      continue;
    }
    const double step = check.step / std::max(1.0, length);
    const std::vector<float> before(values[i].begin(), values[i].end());
    const auto loss_at = [&](double by) {
      for (std::size_t k = 0; k < before.size(); ++k) {
        values[i][k] =
            before[k] + static_cast<float>(by / length) * gradient[i][k];
      }
      return trainer.gradient_of({{0, 3}}, 1, unused);
    };
    const double slope = (loss_at(step) - loss_at(-step)) / (2 * step);
    loss_at(0);
    EXPECT_NEAR(slope, length, 0.03 * length + check.slack)
        << trainer.parameters().names()[i];
  }
}

TEST_P(TrainerTest, GradientsAreTheSlopesOfTheLoss) {
  const auto golden = open_golden(GetParam());
  const auto data = pieces_of(golden);
  for (const auto method :
       {AdaptMethod::lora, AdaptMethod::dora, AdaptMethod::full}) {
    auto options = small_lora();
    options.method = method;
    Training t(golden, data, options);
    stir(t.trainer);
    // Of DoRA the magnitudes: what their rows are divided by is a constant to
    // the gradient of the others.
    const std::size_t first = method == AdaptMethod::dora ? 2 : 0;
    expect_slopes(t.trainer, first, {0.02, 1e-4, 1e-4});
  }
}

TEST_P(TrainerTest, DoraStartsWithLorasGradient) {
  const auto golden = open_golden(GetParam());
  const auto data = pieces_of(golden);
  auto options = small_lora();
  Training lora(golden, data, options);
  options.method = AdaptMethod::dora;
  Training dora(golden, data, options);
  Gradient a;
  Gradient b;
  // b is zero, so that every row has the length it had.
  EXPECT_NEAR(
      lora.trainer.gradient_of({{0, 3}}, 1, a),
      dora.trainer.gradient_of({{0, 3}}, 1, b),
      1e-5);
  ASSERT_EQ(3 * a.size(), 2 * b.size());
  for (std::size_t i = 0; i < a.size() / 2; ++i) {
    EXPECT_LT(difference({a[2 * i]}, {b[3 * i]}), 1e-5);
    EXPECT_LT(
        difference({a[2 * i + 1]}, {b[3 * i + 1]}),
        1e-5 * (1 + largest(a)));
  }
}

TEST_P(TrainerTest, SamplesOfABatchDontSeeEachOther) {
  const auto golden = open_golden(GetParam());
  const auto data = pieces_of(golden);
  Training t(golden, data, small_lora());
  stir(t.trainer);
  Gradient unused;
  double sum = 0;
  double tokens = 0;
  for (int i = 0; i < 4; ++i) {
    const auto own = data.examples[static_cast<std::size_t>(i)].sample.inputs();
    sum += own * t.trainer.gradient_of({{i}}, 1, unused);
    tokens += own;
  }
  EXPECT_NEAR(
      t.trainer.gradient_of({{0, 1, 2, 3}}, 1, unused),
      sum / tokens,
      1e-5);
}

class MixtureTest : public ::testing::TestWithParam<std::string> {
 protected:
  static TrainOptions options_for(const testing::Golden& golden) {
    auto options = small_lora();
    const auto& attention = *golden.checkpoint->spec().layers[0].attention;
    options.targets = {"q_proj", "v_proj"};
    if (attention.latent) {
      options.targets = {"kv_a_proj_with_mqa", "kv_b_proj", "o_proj"};
      options.targets.push_back(
          attention.latent->q_rank ? "q_b_proj" : "q_proj");
    }
    return options;
  }
};

TEST_P(MixtureTest, AdaptersGradientsAreTheSlopesOfTheLoss) {
  const auto golden = open_golden(GetParam());
  const auto data = pieces_of(golden);
  Training t(golden, data, options_for(golden));
  stir(t.trainer);
  // Small steps, so that no token goes to another expert.
  expect_slopes(t.trainer, 0, {2e-3, 1e-3, 0.0});
}

TEST_P(MixtureTest, MlxOpsGiveTheSameGradientAsTheKernels) {
  const auto golden = open_golden(GetParam());
  const auto data = pieces_of(golden);
  for (const bool again : {false, true}) {
    auto options = options_for(golden);
    options.checkpoint_layers = again;
    Gradient a;
    Gradient b;
    Training kernels(golden, data, options);
    stir(kernels.trainer);
    const double want = kernels.trainer.gradient_of({{0, 1, 2}}, 1, a);
    Training ops(golden, data, options, testing::Where::cpu_in_mlx_ops);
    stir(ops.trainer);
    EXPECT_NEAR(ops.trainer.gradient_of({{0, 1, 2}}, 1, b), want, 1e-4);
    EXPECT_LT(difference(a, b), 1e-4 * (1 + largest(a)));
  }
}

TEST_P(MixtureTest, TheExpertsThemselvesAreRefused) {
  const auto golden = open_golden(GetParam());
  auto options = small_lora();
  options.method = AdaptMethod::full;
  const auto data = pieces_of(golden);
  EXPECT_THROW(Training(golden, data, options), UnsupportedError);
}

TEST(LatentTraining, WhatIsFoldedIntoOthersHasNoDropout) {
  const auto golden = open_golden("deepseek_v3");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.dropout = 0.1f;
  options.targets = {"q_b_proj"};
  EXPECT_NO_THROW(Training(golden, data, options));
  options.targets = {"kv_b_proj"};
  EXPECT_THROW(Training(golden, data, options), UnsupportedError);
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    MixtureTest,
    ::testing::Values(
        "mixtral",
        "qwen3_moe",
        "gpt_oss",
        "gpt_oss_mxfp4",
        "deepseek_v2",
        "deepseek_v3"));

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    TrainerTest,
    ::testing::Values("llama", "qwen3", "gemma2"));

}  // namespace
}  // namespace roofline
