// The quality of a quantized model against its source, measured one layer at a
// time: as measure_quality() of evaluate/, in float32, with no more than a
// layer of either in memory, or a piece of their heads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "roofline/evaluate/quality.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// Weights of a head that are decoded at once, of each model: 32 MB.
constexpr std::int64_t kHeadPieceWeights = std::int64_t{8} << 20;

/// Rows of the heads that are compared at once, all tokens of one window with
/// them; longest_window in tokens.
int compared_rows(
    const ModelSpec& spec,
    std::int64_t longest_window,
    std::int64_t piece_weights = kHeadPieceWeights);

/// Both are of the same spec's shape. Throws UserError when the vocabularies
/// differ or no window of the text predicts a token.
QualityReport measure_layered(
    const Checkpoint& reference,
    const Checkpoint& candidate,
    std::span<const std::int32_t> tokens,
    const QualityOptions& options = {},
    std::int64_t piece_weights = kHeadPieceWeights);

}  // namespace roofline
