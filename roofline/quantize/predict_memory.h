// What quantizing a checkpoint takes in memory, predicted before it begins.
#pragma once

#include <cstdint>

#include "roofline/quantize/plan_formats.h"
#include "roofline/quantize/quantize.h"
#include "roofline/quantize/sensitivity.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// The largest of its phases, in bytes: rounding the largest matrix;
/// calibrating (residual stream, one layer in float32, its inputs' moments,
/// the matrix at work); comparing (both streams, one layer in float32, a piece
/// of both heads with its logits); reading the tokenizer. Mapped files aren't
/// counted beyond what is at work.
/// quality_tokens: 0 when nothing is compared.
std::uint64_t predict_quantize_memory(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    int quality_tokens);

/// Of measure_sensitivity(): a residual stream a matrix, one layer twice, the
/// head as it is and rounded, and logits of one window.
std::uint64_t predict_sensitivity_memory(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const SensitivityOptions& options);

}  // namespace roofline
