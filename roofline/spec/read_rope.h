// Reads how a config.json describes its rotary positions, in any of the styles
// in use: rope_theta with rope_scaling, rope_parameters flat, rope_parameters
// per layer type.
#pragma once

#include <cstdint>
#include <optional>

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

struct LayerRopes {
  RopeSpec full;
  RopeSpec sliding;
  std::optional<QueryTemperature> query_temperature;
};

/// context_tokens: max_position_embeddings. Throws CheckpointError or
/// UnsupportedError, naming the field.
LayerRopes read_ropes(
    Fields& config,
    const Family& family,
    int head_dim,
    std::int64_t context_tokens);

}  // namespace roofline
