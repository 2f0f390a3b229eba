// A run's figures, kept as they come: one JSON object a line, and the same as
// CSV; and the curve of its losses.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/report/chart.h"

namespace roofline {

struct StepFigures {
  int step = 0;
  double loss = 0;
  std::optional<double> valid_loss;
  double learning_rate = 0;
  double gradient_norm = 0;
  std::int64_t tokens = 0;  ///< that went through the model in this step
  double seconds = 0;
  double memory_bytes = 0;       ///< resident now
  double peak_memory_bytes = 0;  ///< since the process started
};

class Metrics {
 public:
  /// Keeps metrics.jsonl and metrics.csv in the folder. Lines of steps after
  /// `last_step` (a run that goes on did them again) are dropped.
  Metrics(const std::filesystem::path& folder, int last_step);

  /// Throws UserError when the disk is full; the lines are kept, and written
  /// with the next.
  void add(const StepFigures& figures);
  /// Writes lines that the disk had no room for.
  void flush();
  const std::vector<StepFigures>& all() const { return all_; }

 private:
  std::filesystem::path folder_;
  std::string lines_, csv_;  ///< not written yet
  std::vector<StepFigures> all_;
};

nlohmann::ordered_json figures_json(const StepFigures& figures);

/// Training loss, its running mean, and validation loss over the steps.
Chart loss_chart(const std::vector<StepFigures>& figures);

}  // namespace roofline
