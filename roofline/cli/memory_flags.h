// The options of `roofline memory`.
#pragma once

#include <optional>
#include <string>

#include "roofline/cli/options.h"
#include "roofline/plan/measure.h"
#include "roofline/plan/memory.h"

namespace roofline::cli {

struct MemoryFlags {
  std::string model;
  QuantFlags quant;
  KvFlags kv;
  std::string context;
  std::string device = "auto";
  InferenceQuestion run;
  std::string train;
  TrainingQuestion training;
  std::optional<int> precision;  ///< absent: 16 on a GPU, 32 on a CPU
  std::string targets;
  std::string optimizer = "adamw";
  std::optional<std::string> ram;
  std::string plot;
  bool measure = false;
  MeasureOptions measuring;
  bool fit = false;
  bool table = false;
  bool history = false;
  bool json = false;

  void declare(CLI::App& app);

 private:
  void declare_run(CLI::App& app);
  void declare_training(CLI::App& app);
  void declare_questions(CLI::App& app);
};

}  // namespace roofline::cli
