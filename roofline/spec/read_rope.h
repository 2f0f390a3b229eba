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

/// Dims of the heads of layers that see all, and of those with a window.
struct HeadDims {
  int full = 0;
  int sliding = 0;
};

/// context_tokens: max_position_embeddings. Throws CheckpointError or
/// UnsupportedError, naming the field.
LayerRopes read_ropes(
    Fields& config,
    const Family& family,
    HeadDims head_dims,
    std::int64_t context_tokens);

}  // namespace roofline
