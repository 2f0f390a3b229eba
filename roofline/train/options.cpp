#include "roofline/train/options.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/train/parameters.h"

namespace roofline {

void set_train_option(
    TrainOptions& options,
    std::string_view name,
    const std::string& text) {
  std::vector<std::string> names;
  for (const auto& row : train_settings()) {
    if (row.name == name) {
      row.set(options, text);
      return;
    }
    names.emplace_back(row.name);
  }
  fail<UserError>(
      fmt::format("There is no setting {}", name),
      did_you_mean(name, names),
      "See roofline train --help");
}

void validate(const TrainOptions& options) {
  if (options.data.empty()) {
    fail<UserError>(
        "There is nothing to learn from",
        "",
        "Give a folder or a file with --data");
  }
  if (options.epochs <= 0 && options.steps == 0) {
    fail<UserError>(
        "The run has no steps",
        "epochs and steps are both 0",
        "Give one of them");
  }
  if (options.method != AdaptMethod::full && options.targets.empty()) {
    fail<UserError>(
        "No matrix would get an adapter",
        "targets is empty",
        "Name some with --targets");
  }
  if (!options.teacher.empty() && options.loss != LossName::cross_entropy) {
    fail<UserError>(
        "A teacher doesn't go with a loss on pairs",
        "Distillation mixes its divergence with cross entropy",
        "Leave out --teacher, or --loss");
  }
  is_target("", options.targets);  // refuses names that there aren't
}

double learning_rate_at(const TrainOptions& options, int step, int steps) {
  if (step <= options.warmup) {
    return options.learning_rate * step / (options.warmup + 1.0);
  }
  const int falling = std::max(1, steps - options.warmup);
  const double share =
      std::min(1.0, static_cast<double>(step - options.warmup - 1) / falling);
  double height = 1;
  if (options.schedule == ScheduleName::cosine) {
    height = 0.5 * (1 + std::cos(std::numbers::pi * share));
  } else if (options.schedule == ScheduleName::linear) {
    height = 1 - share;
  }
  return options.learning_rate *
         (options.final_rate + (1 - options.final_rate) * height);
}

}  // namespace roofline
