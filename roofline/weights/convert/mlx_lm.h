// What mlx-lm makes of a folder in its layout: which models it refuses or
// computes otherwise. Facts: mlx-lm 0.32.2, its models run on folders of every
// family (bench/convert_peers.py).
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// What of the model mlx-lm hasn't, a sentence for people; empty where it
/// computes what Roofline does. config: as it is written.
std::string unlike_in_mlx_lm(
    const ModelSpec& spec,
    const nlohmann::json& config);

}  // namespace roofline
