// Turns a config.json or GGUF metadata into a ModelSpec. A family is a row of
// data in families.cpp. A field that would change the result and isn't
// understood is an error, not ignored.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/spec/model_spec.h"

namespace roofline {

/// config: the parsed config.json. Reads old and new styles (rope_theta and
/// rope_scaling, rope_parameters flat or per layer type). Throws
/// UnsupportedError for an unknown family (naming the nearest and what sets it
/// apart) or field, CheckpointError for values that can't be.
/// tensors: names in the checkpoint, for that message; may be left out.
ModelSpec read_config(
    const nlohmann::json& config,
    std::span<const std::string> tensors = {});

/// The few small tensors of a GGUF file that belong to its spec.
struct GgufRopeFactors {
  std::optional<std::vector<float>> factors;        ///< rope_freqs.weight
  std::optional<std::vector<float>> long_factors;   ///< rope_factors_long
  std::optional<std::vector<float>> short_factors;  ///< rope_factors_short
};

/// metadata: a flat object of GGUF keys, e.g. "llama.block_count"; the arrays
/// of the vocabulary may be left out. Same errors as read_config.
ModelSpec read_gguf_metadata(
    const nlohmann::json& metadata,
    const GgufRopeFactors& rope,
    std::span<const std::string> tensors = {});

/// Names of the families that can be read, sorted.
std::vector<std::string> known_families();

/// The spec in words, one fact a line, for `roofline inspect`.
std::string describe(const ModelSpec& spec);

}  // namespace roofline
