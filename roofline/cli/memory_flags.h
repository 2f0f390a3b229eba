// The options of `roofline memory`.
#pragma once

#include <optional>
#include <string>

#include "roofline/cli/options.h"
#include "roofline/plan/measure.h"
#include "roofline/plan/memory.h"

namespace roofline::cli {

class App;

struct MemoryFlags {
  std::string model;
  QuantFlags quant;
  KvFlags kv;
  std::string context;
  std::string device = "auto";
  InferenceQuestion run;
  std::string train;
  TrainingQuestion training;
  std::optional<int> threads;    ///< absent: all cores
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

  void declare(App& app);
  /// The largest models that fit, rather than one.
  bool asks_for_models() const { return ram && model.empty() && !fit; }
  /// What is accepted is answered: throws UserError for an option that the
  /// question would pass over.
  void require_one_question() const;
  /// Whether an option stands on the command line.
  bool given(const std::string& option) const;

 private:
  void require_own_options() const;

  void declare_run(App& app);
  void declare_training(App& app);
  void declare_questions(App& app);

  const App* app_ = nullptr;
};

}  // namespace roofline::cli
