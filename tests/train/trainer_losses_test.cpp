// Losses of whole runs beside PyTorch's, teachers, pairs of answers.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include <nlohmann/json.hpp>

#include "roofline/train/trainer.h"
#include "roofline/weights/json_file.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

using testing::difference;
using testing::Gradient;
using testing::largest;
using testing::open_golden;
using testing::pieces_of;
using testing::ScratchFolder;
using testing::small_lora;
using testing::stir;
using testing::Training;

// ---- agreement ----

TEST(TrainerLosses, TwentyStepsAgreeWithPyTorch) {
  const auto recorded = read_json_file(
      std::filesystem::path(ROOFLINE_GOLDENS) / "../train/losses.json");
  for (const auto& [method, models] : recorded["losses"].items()) {
    for (const auto& [name, losses] : models.items()) {
      const auto golden = open_golden(name);
      Dataset data;
      for (const auto& ids : golden.ids) {
        data.examples.push_back({testing::sample_of(ids), {}});
      }
      const ScratchFolder output("losses");
      TrainOptions options;
      options.data = "given";
      options.output = output.path().string();
      set_train_option(options, "method", method);
      if (recorded["targets"].contains(name)) {
        recorded["targets"][name].get_to(options.targets);
      }
      options.rank = recorded["rank"];
      options.alpha = recorded["alpha"];
      options.seed = recorded["seed"];
      options.learning_rate = recorded["learning_rate"][method];
      options.optimizer.weight_decay = recorded["weight_decay"];
      options.clip = recorded["clip"];
      options.steps = recorded["steps"];
      options.batch = 2;
      Training t(golden, data, options);
      std::atomic<bool> stop = false;
      t.trainer.run(stop);
      const Metrics metrics(output.path(), options.steps);
      ASSERT_EQ(metrics.all().size(), losses.size());
      for (std::size_t i = 0; i < losses.size(); ++i) {
        const double expected = losses[i];
        EXPECT_NEAR(metrics.all()[i].loss, expected, 0.01 * expected)
            << name << ", " << method << ", step " << i + 1;
      }
    }
  }
}

/// DPO, ORPO and distillation, by make_objectives.py.
TEST(TrainerLosses, OtherObjectivesAgreeWithTheirFormulasInPyTorch) {
  const auto recorded = read_json_file(
      std::filesystem::path(ROOFLINE_GOLDENS) / "../train/objectives.json");
  const auto common = read_json_file(
      std::filesystem::path(ROOFLINE_GOLDENS) / "../train/losses.json");
  const auto golden = open_golden("llama");
  const auto followed = open_golden(recorded["teacher"].get<std::string>());
  ASSERT_EQ(recorded["losses"].size(), 3u);
  for (const auto& [loss, losses] : recorded["losses"].items()) {
    Dataset data;
    const bool pairs = loss != "cross_entropy";
    const auto first = testing::sample_of(golden.ids[0]);
    const auto second = testing::sample_of(golden.ids[1]);
    data.examples.push_back({first, pairs ? second : Sample{}});
    if (!pairs) {
      data.examples.push_back({second, {}});
    }
    const ScratchFolder output("objectives");
    TrainOptions options;
    options.data = "given";
    options.output = output.path().string();
    set_train_option(options, "loss", loss);
    options.beta = recorded["beta"][loss];
    options.temperature = recorded["temperature"];
    options.teacher_share = recorded["share"];
    options.rank = common["rank"];
    options.alpha = common["alpha"];
    options.seed = common["seed"];
    options.learning_rate = common["learning_rate"]["lora"];
    options.optimizer.weight_decay = common["weight_decay"];
    options.clip = common["clip"];
    options.steps = recorded["steps"];
    options.batch = 2;
    Training teacher(followed, data, options);
    teacher.trainer.parameters().remove();
    Training t(golden, data, options);
    if (!pairs) {
      t.trainer.follow(*teacher.decoder);
    }
    std::atomic<bool> stop = false;
    t.trainer.run(stop);
    const Metrics metrics(output.path(), options.steps);
    ASSERT_EQ(metrics.all().size(), losses.size());
    for (std::size_t i = 0; i < losses.size(); ++i) {
      const double expected = losses[i];
      EXPECT_NEAR(metrics.all()[i].loss, expected, 0.01 * expected)
          << loss << ", step " << i + 1;
    }
  }
}

// ---- a teacher ----

TEST(TrainerTeacher, AModelThatFollowsItselfHasNothingToLearn) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.teacher_share = 1;
  Training plain(golden, data, options);
  plain.trainer.parameters().remove();
  Training t(golden, data, options);
  t.trainer.follow(*plain.decoder);
  Gradient gradient;
  EXPECT_NEAR(t.trainer.gradient_of({{0, 1}}, 1, gradient), 0, 1e-5);
  EXPECT_LT(largest(gradient), 1e-4);
  stir(t.trainer);
  EXPECT_GT(t.trainer.gradient_of({{0, 1}}, 1, gradient), 1e-3);
  EXPECT_GT(largest(gradient), 1e-3);
}

TEST(TrainerTeacher, WithoutAShareItIsCrossEntropy) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.teacher_share = 0;
  Training teacher(golden, data, options);
  stir(teacher.trainer);
  Training t(golden, data, options);
  Gradient alone;
  Gradient followed;
  const double loss = t.trainer.gradient_of({{0}, {1, 2}}, 1, alone);
  t.trainer.follow(*teacher.decoder);
  EXPECT_NEAR(t.trainer.gradient_of({{0}, {1, 2}}, 1, followed), loss, 1e-5);
  EXPECT_LT(difference(alone, followed), 1e-5 * (1 + largest(alone)));
}

// ---- pairs ----

TEST(TrainerPairs, PreferenceLossesPullTheAnswersApart) {
  const auto golden = open_golden("llama");
  Dataset data;
  data.examples.push_back(
      {testing::sample_of(golden.ids[0]), testing::sample_of(golden.ids[1])});
  for (const auto loss : {LossName::dpo, LossName::orpo}) {
    auto options = small_lora();
    options.loss = loss;
    options.steps = 8;
    options.learning_rate = 1e-2;
    const ScratchFolder output("pairs");
    options.output = output.path().string();
    Training t(golden, data, options);
    std::atomic<bool> stop = false;
    t.trainer.run(stop);
    const Metrics metrics(output.path(), 8);
    if (loss == LossName::dpo) {
      // Before the first step both models are the same.
      EXPECT_NEAR(metrics.all().front().loss, std::log(2.0), 1e-4);
    }
    EXPECT_LT(metrics.all().back().loss, 0.9 * metrics.all().front().loss);
  }
}

TEST(TrainerPairs, AccumulatedPairsAreOneLargeBatch) {
  const auto golden = open_golden("llama");
  Dataset data;
  for (const int turn : {0, 1}) {
    data.examples.push_back(
        {testing::sample_of(golden.ids[static_cast<std::size_t>(turn)]),
         testing::sample_of(golden.ids[static_cast<std::size_t>(1 - turn)])});
  }
  auto options = small_lora();
  options.loss = LossName::orpo;
  Training t(golden, data, options);
  stir(t.trainer);
  Gradient whole;
  Gradient parts;
  EXPECT_NEAR(
      t.trainer.gradient_of({{0, 1}}, 1, whole),
      t.trainer.gradient_of({{0}, {1}}, 1, parts),
      1e-5);
  EXPECT_LT(difference(whole, parts), 1e-5 * (1 + largest(whole)));

  Training ops(golden, data, options, testing::Where::cpu_in_mlx_ops);
  stir(ops.trainer);
  Gradient same;
  EXPECT_NEAR(
      t.trainer.gradient_of({{0, 1}}, 1, whole),
      ops.trainer.gradient_of({{0, 1}}, 1, same),
      1e-4);
  EXPECT_LT(difference(whole, same), 1e-4 * (1 + largest(whole)));
}

}  // namespace
}  // namespace roofline
