// What a step of many tokens takes on a GPU while it is computed. MLX gives the
// results of all ops that it was handed memory before the GPU gets to them, so
// that without a bound a step holds the results of every layer at once.
#pragma once

#include "roofline/spec/model_spec.h"

namespace roofline {

/// Steps of fewer tokens are handed over whole.
constexpr int kFewestBounded = 64;
/// Layers are handed over in lots, and a lot once the one before the last is
/// computed: so many layers that 512 tokens would make about so many bytes of
/// results, whatever the step's own tokens are.
constexpr double kLotBytes = 64e6;
constexpr int kLotTokens = 512;
/// A model all of whose layers make less then is handed over whole: each lot
/// costs a launch.
constexpr double kWholeBytes = 512e6;
/// From this many tokens on CUDA decodes a quantized matrix and multiplies
/// densely: its quantized product doesn't use the tensor cores well, and
/// decoding costs about as much as 50 rows of the product.
constexpr int kDenseFromTokens = 128;

/// Bytes of results of one layer for so many tokens, values in 16 bits: the
/// residual stream, what goes in and out of its parts, hidden values; and with
/// `decodes` those of its dense matrices.
double graph_layer_bytes(
    const ModelSpec& spec,
    const LayerSpec& layer,
    double tokens,
    bool decodes);

/// Whether steps of so many tokens are handed over in lots.
bool in_lots(const ModelSpec& spec, double tokens, bool decodes);

/// The most bytes of results at once in a step of so many tokens.
double graph_step_bytes(const ModelSpec& spec, double tokens, bool decodes);

}  // namespace roofline
