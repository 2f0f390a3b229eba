// What a training run will hold at its peak on the CPU, from the sizes of its
// parts: counted from what the graph keeps, not measured.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "roofline/spec/model_spec.h"
#include "roofline/train/dataset.h"
#include "roofline/train/options.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

struct ForecastPart {
  std::string name;
  double bytes = 0;
};

struct Forecast {
  std::vector<ForecastPart> parts;
  double total() const;
};

/// The most tokens that one batch of the run has.
std::int64_t largest_batch(const Dataset& data, const TrainOptions& options);

/// tokens: of a batch.
Forecast forecast_training(
    const Checkpoint& checkpoint,
    const TrainOptions& options,
    std::int64_t tokens);

}  // namespace roofline
