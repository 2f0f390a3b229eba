#include "roofline/train/options.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

TEST(TrainSettings, EveryOneSurvivesAFile) {
  TrainOptions options;
  options.data = "some data";
  options.method = AdaptMethod::full;
  options.learning_rate = 3.25e-5;
  options.optimizer.name = OptimizerName::muon;
  options.targets = {"q_proj", "up_proj"};
  options.pack = true;
  options.seed = 12345678901234567890u;
  const testing::ScratchFolder folder("settings");
  const auto file = folder.path() / "train.toml";
  std::ofstream(file) << train_file_text(options);
  TrainOptions read;
  read_train_file(read, file);
  for (const auto& setting : train_settings()) {
    EXPECT_EQ(setting.get(read), setting.get(options)) << setting.name;
  }
}

TEST(TrainSettings, AFileMayHaveNumbersTruthsAndLists) {
  const testing::ScratchFolder folder("settings");
  const auto file = folder.path() / "train.toml";
  std::ofstream(file) << "learning_rate = 2e-3\nbatch = 7\npack = true\n"
                         "targets = [\"v_proj\", \"o_proj\"]\n";
  TrainOptions read;
  read_train_file(read, file);
  EXPECT_DOUBLE_EQ(read.learning_rate, 2e-3);
  EXPECT_EQ(read.batch, 7);
  EXPECT_TRUE(read.pack);
  EXPECT_EQ(read.targets, (std::vector<std::string>{"v_proj", "o_proj"}));
}

TEST(TrainSettings, AFileOfYamlSaysTheSame) {
  const testing::ScratchFolder folder("settings");
  const auto file = folder.path() / "train.yaml";
  std::ofstream(file) << "# a run\nlearning_rate: 2e-3\nbatch: 7\npack: true\n"
                         "data: \"some data\"\ntargets:\n  - v_proj\n"
                         "  - o_proj\n";
  TrainOptions read;
  read_train_file(read, file);
  EXPECT_DOUBLE_EQ(read.learning_rate, 2e-3);
  EXPECT_EQ(read.batch, 7);
  EXPECT_TRUE(read.pack);
  EXPECT_EQ(read.data, "some data");
  EXPECT_EQ(read.targets, (std::vector<std::string>{"v_proj", "o_proj"}));
}

/// What reading a file of this name and text is refused with.
std::string refusal(const char* name, const char* text) {
  const testing::ScratchFolder folder("settings");
  std::ofstream(folder.path() / name) << text;
  TrainOptions options;
  try {
    read_train_file(options, folder.path() / name);
  } catch (const UserError& error) {
    return error.what();
  }
  return "none";
}

TEST(TrainSettings, MistakesInAFileNameItAndTheLine) {
  for (const auto& [name, text, told] :
       {std::tuple("a.yml", "batch: 2\nranc: 4\n", "a.yml:2: There is no "),
        {"a.yml", "batch: 2\nranc: 4\n", "Did you mean rank"},
        {"a.yaml", "batch: 2\nrank: [1\n", "a.yaml:3 isn't YAML"},
        {"a.yaml", "batch: {a: 1}\n", "a.yaml:1: batch"},
        {"a.yaml", "just a text\n", "a.yaml:1 isn't a table of settings"},
        {"a.yaml", "batch: 2\nrank: 4\nbatch: 3\n", "a.yaml:3: batch is given"},
        {"a.yaml", "save-every: 2\nsave_every: 3\n", "a.yaml:2: save-every is"},
        {"a.toml", "save-every = 2\nsave_every = 3\n", "a.toml:2: save-every"},
        {"a.yaml", "batch: 2\n[a, b]: 3\n", "a.yaml:2 isn't a table"},
        {"a.yaml", "batch: 2\n---\nrank: 4\n", "Another document"},
        {"a.yaml", "batch: 2\nrank:\n", "a.yaml:2: rank has no value"},
        {"a.YAML", "batch: 2\nrank: [1\n", "a.YAML:3 isn't YAML"},
        {"a.toml", "batch = 2\nrank = \n", "a.toml:2 isn't TOML"},
        {"a.toml", "batch = 2\n[rank]\nx = 1\n", "a.toml:2: rank"}}) {
    const auto found = refusal(name, text);
    EXPECT_NE(found.find(told), std::string::npos) << found;
  }
  const testing::ScratchFolder folder("settings");
  const auto table = folder.path() / "folder.yaml";
  std::filesystem::create_directory(table);
  for (const std::filesystem::path& path :
       {std::filesystem::path("/nowhere/train.toml"),
        std::filesystem::path(),
        folder.path(),
        table}) {
    TrainOptions options;
    try {
      read_train_file(options, path);
      FAIL() << path;
    } catch (const UserError& error) {
      EXPECT_NE(
          std::string(error.what()).find("can't be read"),
          std::string::npos)
          << error.what();
    }
  }
}

TEST(TrainSettings, MistakesNameTheSettingAndTheLine) {
  TrainOptions options;
  const auto told = [&](const char* name, const char* text) {
    try {
      set_train_option(options, name, text);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  EXPECT_NE(told("rank", "0").find("rank"), std::string::npos);
  EXPECT_NE(told("rank", "eight").find("whole number"), std::string::npos);
  EXPECT_NE(told("method", "lore").find("lora"), std::string::npos);
  EXPECT_NE(told("lerning-rate", "1").find("learning-rate"), std::string::npos);
  EXPECT_NE(
      told("optimizer", "adm").find("Did you mean adam"),
      std::string::npos);
  EXPECT_NE(
      told("schedule", "cosin").find("Did you mean cosine"),
      std::string::npos);
  EXPECT_EQ(told("rank", "16"), "none");
  EXPECT_NE(
      told("learning-rate", "1e10").find("from 0 to 1000000000"),
      std::string::npos);
  const testing::ScratchFolder folder("settings");
  const auto file = folder.path() / "train.toml";
  std::ofstream(file) << "batch = 2\nrank = -1\n";
  try {
    read_train_file(options, file);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(
        std::string(error.what()).find("train.toml:2"),
        std::string::npos);
  }
}

TEST(TrainSettings, WhatDoesntGoTogetherIsRefused) {
  TrainOptions options;
  EXPECT_THROW(validate(options), UserError) << "no data";
  options.data = "data";
  EXPECT_NO_THROW(validate(options));
  auto other = options;
  other.targets = {"q_proj", "x_proj"};
  EXPECT_THROW(validate(other), UserError);
  other.targets = {};
  EXPECT_THROW(validate(other), UserError);
  other = options;
  other.epochs = 0;
  EXPECT_THROW(validate(other), UserError);
}

TEST(Schedule, RisesThenFallsAsItsNameSays) {
  TrainOptions options;
  options.learning_rate = 1;
  options.warmup = 4;
  options.final_rate = 0.1;
  EXPECT_NEAR(learning_rate_at(options, 1, 100), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate_at(options, 5, 100), 1, 1e-12);
  EXPECT_NEAR(learning_rate_at(options, 100, 100), 1, 1e-12) << "constant";
  options.schedule = ScheduleName::linear;
  EXPECT_NEAR(learning_rate_at(options, 53, 100), 0.55, 1e-12);
  options.schedule = ScheduleName::cosine;
  EXPECT_NEAR(learning_rate_at(options, 53, 100), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate_at(options, 29, 100), 0.1 + 0.9 * 0.853553, 1e-6);
  EXPECT_NEAR(learning_rate_at(options, 101, 100), 0.1, 1e-12);
}

}  // namespace
}  // namespace roofline
