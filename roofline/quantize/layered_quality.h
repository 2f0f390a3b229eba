// The quality of a quantized model against its source, measured one layer at a
// time: as measure_quality() of evaluate/, in float32, with no more than a
// layer of either in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "roofline/evaluate/quality.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// Both are of the same spec's shape. Throws UserError when the vocabularies
/// differ or no window of the text predicts a token.
QualityReport measure_layered(
    const Checkpoint& reference,
    const Checkpoint& candidate,
    std::span<const std::int32_t> tokens,
    const QualityOptions& options = {});

}  // namespace roofline
