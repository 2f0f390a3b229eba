// What a training run will take, said before it starts, and what to change
// when that is too much.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "roofline/plan/memory.h"
#include "roofline/train/dataset.h"
#include "roofline/train/options.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

struct TrainForecast {
  double bytes = 0;  ///< peak
  /// Of products with the weights, forward and backward, for one token.
  double operations_per_token = 0;
  double room_bytes = 0;  ///< that are free
  MemoryPrediction parts;
  bool fits = true;
  std::string text;      ///< lines for people
  std::string shortage;  ///< when it doesn't fit
  std::string advice;    ///< the cheapest change that fits
};

/// What a run learns from, and what it is judged by, where there is any.
struct TrainData {
  const Dataset& train;
  const Dataset* valid = nullptr;
  const Dataset* test = nullptr;
};

/// fit: makes that change to the options instead of advising it.
TrainForecast plan_training(
    const Checkpoint& checkpoint,
    const TrainData& data,
    TrainOptions& options,
    bool fit);

/// What --dry-run prints: docs/json.md.
nlohmann::ordered_json forecast_json(
    const TrainForecast& forecast,
    const Dataset& train,
    const TrainOptions& options);

}  // namespace roofline::cli
