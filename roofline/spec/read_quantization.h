// Reads how a config.json says its weights were quantized: MLX's modes, and the
// methods of others whose layouts weights/ reads. The rest is refused by name.
#pragma once

#include <optional>

#include "roofline/spec/fields.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// "quantization" or "quantization_config"; nullopt when there is neither.
/// Throws UnsupportedError for another method or mode.
std::optional<StoredQuantization> read_quantization(Fields& config);

}  // namespace roofline
