#include "roofline/train/trainer.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <set>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <limits>

#include <mlx/device.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/weights/json_file.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

using testing::bytes_of_file;
using testing::open_golden;
using testing::pieces_of;
using testing::ScratchFolder;
using testing::Training;

using Gradient = std::vector<std::vector<float>>;

TrainOptions small_lora() {
  TrainOptions options;
  options.data = "given";
  options.rank = 4;
  options.alpha = 8;
  options.seed = 7;
  options.batch = 2;
  options.targets = {"q_proj", "v_proj", "down_proj"};
  options.save_every = 0;
  options.evaluate_every = 0;
  return options;
}

/// Moves b away from zero, where a has no gradient.
void stir(Trainer& trainer) {
  std::uint64_t state = 3;
  for (auto values : trainer.parameters().values()) {
    for (float& value : values) {
      value +=
          0.05f * static_cast<float>(
                      static_cast<double>(next_random(state)) * 0x1p-63 - 1);
    }
  }
}

double largest(const Gradient& gradient) {
  double most = 0;
  for (const auto& each : gradient) {
    for (const float value : each) {
      most = std::max(most, static_cast<double>(std::fabs(value)));
    }
  }
  return most;
}

double difference(const Gradient& a, const Gradient& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t k = 0; k < a[i].size(); ++k) {
      most = std::max(most, static_cast<double>(std::fabs(a[i][k] - b[i][k])));
    }
  }
  return most;
}

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

// ---- going on ----

TEST(TrainerResume, GoesOnBitForBitAsIfItHadNeverStopped) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  for (const auto optimizer :
       {OptimizerName::adamw, OptimizerName::adamw8, OptimizerName::muon}) {
    auto options = small_lora();
    options.optimizer.name = optimizer;
    options.steps = 7;
    options.dropout = 0.2f;
    options.schedule = ScheduleName::cosine;
    options.learning_rate = 1e-2;
    const ScratchFolder whole("whole");
    const ScratchFolder parts("parts");
    std::atomic<bool> stop = false;
    options.output = whole.path().string();
    {
      Training t(golden, data, options);
      EXPECT_FALSE(t.trainer.run(stop).stopped);
    }
    options.output = parts.path().string();
    {
      Training t(golden, data, options);
      int steps = 0;
      Trainer stopping(
          *golden.checkpoint,
          *t.decoder,
          data,
          nullptr,
          options,
          {[&](const StepFigures&, int) { stop = ++steps == 3; }, {}});
      const auto result = stopping.run(stop);
      EXPECT_TRUE(result.stopped);
      EXPECT_EQ(result.steps, 3);
    }
    stop = false;
    {
      Training t(golden, data, options);
      t.trainer.resume();
      EXPECT_EQ(t.trainer.run(stop).steps, 7);
    }
    for (const char* file :
         {"adapters.safetensors", "checkpoint/state.safetensors"}) {
      EXPECT_EQ(
          bytes_of_file(whole.path() / file),
          bytes_of_file(parts.path() / file))
          << file;
    }
    EXPECT_EQ(Metrics(parts.path(), 7).all().size(), 7u);
  }
}

/// What SIGKILL would leave behind is what is on the disk at some moment.
TEST(TrainerResume, GoesOnFromACopyOfTheDiskBitForBitWithEveryMethod) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  namespace fs = std::filesystem;
  for (const auto method : {AdaptMethod::dora, AdaptMethod::full}) {
    auto options = small_lora();
    options.method = method;
    options.steps = 6;
    options.save_every = 2;
    options.optimizer.weight_decay = 0.01f;
    const ScratchFolder whole("whole");
    const ScratchFolder left("left");
    options.output = whole.path().string();
    Training t(golden, data, options);
    std::atomic<bool> stop = false;
    Trainer trainer(
        *golden.checkpoint,
        *t.decoder,
        data,
        nullptr,
        options,
        {[&](const StepFigures& figures, int) {
           if (figures.step == 5) {  // step 4 was kept
             fs::copy(
                 whole.path(),
                 left.path(),
                 fs::copy_options::recursive |
                     fs::copy_options::overwrite_existing);
           }
         },
         {}});
    trainer.run(stop);
    options.output = left.path().string();
    Training again(golden, data, options);
    again.trainer.resume();
    EXPECT_EQ(again.trainer.run(stop).steps, 6);
    EXPECT_EQ(
        bytes_of_file(whole.path() / "checkpoint/state.safetensors"),
        bytes_of_file(left.path() / "checkpoint/state.safetensors"));
    EXPECT_EQ(Metrics(left.path(), 6).all().size(), 6u);
  }
}

TEST(TrainerResume, RefusesAnotherRunsCheckpoint) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.steps = 1;
  const ScratchFolder output("other");
  options.output = output.path().string();
  std::atomic<bool> stop = false;
  Training(golden, data, options).trainer.run(stop);
  options.learning_rate *= 2;
  Training other(golden, data, options);
  EXPECT_THROW(other.trainer.resume(), UserError);
  options.output = (output.path() / "nothing").string();
  Training none(golden, data, options);
  EXPECT_THROW(none.trainer.resume(), UserError);
}

class ComesApart : public ::testing::TestWithParam<int> {};

/// After a step whose checkpoint isn't due, and after one whose is: weights
/// that give no number must not be what is kept.
TEST_P(ComesApart, StopsAtNoNumberAndKeepsTheLastGoodCheckpoint) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.steps = 30;
  options.save_every = 2;
  const ScratchFolder output("nan");
  options.output = output.path().string();
  Training t(golden, data, options);
  std::atomic<bool> stop = false;
  Parameters* trained = nullptr;
  Trainer trainer(
      *golden.checkpoint,
      *t.decoder,
      data,
      nullptr,
      options,
      {[&](const StepFigures& figures, int) {
         if (figures.step == GetParam()) {  // after it the run comes apart
           trained->values()[0][0] = std::numeric_limits<float>::quiet_NaN();
         }
       },
       {}});
  trained = &trainer.parameters();
  try {
    trainer.run(stop);
    FAIL() << "it went on";
  } catch (const UserError& error) {
    EXPECT_NE(
        std::string(error.what()).find("last good checkpoint"),
        std::string::npos)
        << error.what();
  }
  Training again(golden, data, options);
  again.trainer.resume();
  EXPECT_EQ(
      Metrics(output.path(), 30).all().size(),
      static_cast<std::size_t>(GetParam()));
  const auto run = read_json_file(output.path() / "checkpoint/run.json");
  EXPECT_EQ(run["step"], 2);
  for (const auto values : again.trainer.parameters().values()) {
    for (const float value : values) {
      ASSERT_TRUE(std::isfinite(value));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Steps, ComesApart, ::testing::Values(3, 4));

TEST(TrainerSafety, AFullDiskLosesNoOlderCheckpointAndNoFigures) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.steps = 6;
  options.save_every = 2;
  const ScratchFolder output("full_disk");
  options.output = output.path().string();
  Training t(golden, data, options);
  std::signal(SIGXFSZ, SIG_IGN);  // writes fail instead
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto limit = [&](rlim_t bytes) {
    const rlimit now{std::min(bytes, before.rlim_max), before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  };
  std::vector<std::string> notes;
  Trainer trainer(
      *golden.checkpoint,
      *t.decoder,
      data,
      nullptr,
      options,
      {[&](const StepFigures& figures, int) {
         limit(figures.step == 4 ? 600 : before.rlim_cur);
       },
       [&](const std::string& note) {
         notes.push_back(note);
         const auto run = read_json_file(output.path() / "checkpoint/run.json");
         EXPECT_EQ(run["step"], 2);
       }});
  std::atomic<bool> stop = false;
  const auto result = trainer.run(stop);
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(result.steps, 6);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_NE(notes[0].find("step 4 wasn't written"), std::string::npos)
      << notes[0];
  // Nor had the figures of step 5 room: they came with those of step 6.
  EXPECT_NE(notes[1].find("metrics.jsonl can't be written"), std::string::npos)
      << notes[1];
  const auto lines_of = [&](const char* name) {
    const auto text = bytes_of_file(output.path() / name);
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(lines_of("metrics.jsonl"), 6);
  EXPECT_EQ(lines_of("metrics.csv"), 7);
  EXPECT_EQ(Metrics(output.path(), 6).all().size(), 6u);
  const auto run = read_json_file(output.path() / "checkpoint/run.json");
  EXPECT_EQ(run["step"], 6);
}

TEST(TrainerSafety, ALossThatGrowsStopsTheRun) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.steps = 400;
  options.learning_rate = -1e-2;  // up the slope
  options.diverged = 1.01;
  const ScratchFolder output("diverges");
  options.output = output.path().string();
  Training t(golden, data, options);
  std::atomic<bool> stop = false;
  try {
    t.trainer.run(stop);
    FAIL() << "it went on";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("diverges"), std::string::npos)
        << error.what();
  }
}

TEST(TrainerSafety, KeepsTheBestByValidationLoss) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.steps = 4;
  options.evaluate_every = 1;
  const ScratchFolder output("best");
  options.output = output.path().string();
  Training t(golden, data, options);
  // The rate is so high that a later step is worse than an earlier one.
  Trainer trainer(*golden.checkpoint, *t.decoder, data, &data, options, {});
  std::atomic<bool> stop = false;
  const auto result = trainer.run(stop);
  const Metrics metrics(output.path(), 4);
  double best = std::numeric_limits<double>::infinity();
  for (const auto& figures : metrics.all()) {
    ASSERT_TRUE(figures.valid_loss);
    best = std::min(best, *figures.valid_loss);
  }
  EXPECT_DOUBLE_EQ(*result.best_valid_loss, best);
  EXPECT_TRUE(
      std::filesystem::exists(output.path() / "best" / "adapters.safetensors"));
}

TEST(TrainerRun, TellsTheLossOfTheTestSetAtTheEnd) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  for (const auto loss : {LossName::cross_entropy, LossName::dpo}) {
    Dataset pairs;
    pairs.examples.push_back(
        {testing::sample_of(golden.ids[0]), testing::sample_of(golden.ids[1])});
    const Dataset& own = loss == LossName::dpo ? pairs : data;
    auto options = small_lora();
    options.loss = loss;
    options.steps = 2;
    options.learning_rate = 1e-2;
    const ScratchFolder output("test_set");
    options.output = output.path().string();
    Training t(golden, own, options);
    const Dataset held_out = own;
    t.trainer.test_on(held_out);
    std::atomic<bool> stop = false;
    const auto result = t.trainer.run(stop);
    ASSERT_TRUE(result.test_loss);
    EXPECT_DOUBLE_EQ(*result.test_loss, t.trainer.evaluate(held_out));
  }
}

TEST(TrainerRun, NotesThatAnEarlierRunsCheckpointIsReplaced) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.steps = 1;
  const ScratchFolder output("replaced");
  options.output = output.path().string();
  std::atomic<bool> stop = false;
  std::vector<std::string> notes;
  for (const bool resume : {false, false, true}) {
    Training t(golden, data, options);
    Trainer trainer(
        *golden.checkpoint,
        *t.decoder,
        data,
        nullptr,
        options,
        {{}, [&](const std::string& note) { notes.push_back(note); }});
    if (resume) {
      trainer.resume();
    }
    trainer.run(stop);
  }
  ASSERT_EQ(notes.size(), 1u) << "the second run's";
  EXPECT_NE(notes[0].find("--resume"), std::string::npos) << notes[0];
}

TEST(TrainerRun, RefusesMoreLayersThanTheModelHas) {
  const auto golden = open_golden("llama");
  const auto data = pieces_of(golden);
  auto options = small_lora();
  options.layers = static_cast<int>(golden.checkpoint->spec().layers.size());
  EXPECT_NO_THROW(Training(golden, data, options));
  ++options.layers;
  EXPECT_THROW(Training(golden, data, options), UserError);
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
