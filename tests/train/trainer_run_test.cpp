// Runs: what is kept, how they go on, how they stop.
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <limits>

#include "roofline/base/errors.h"
#include "roofline/train/trainer.h"
#include "roofline/weights/json_file.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

using testing::bytes_of_file;
using testing::open_golden;
using testing::pieces_of;
using testing::ScratchFolder;
using testing::small_lora;
using testing::Training;

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

}  // namespace
}  // namespace roofline
