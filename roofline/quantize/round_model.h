// Rounds a whole model, matrix by matrix: on its own, or layer by layer with
// the inputs that the layers before, rounded already, give.
#pragma once

#include "roofline/quantize/distilled_names.h"
#include "roofline/quantize/quantize.h"

namespace roofline {

/// method: not dwq. Results go to the sink; codes into `kept` where that isn't
/// null. Throws what quantize_model() throws.
void round_model(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    QuantizeMethod method,
    QuantizeSink& sink,
    CodesByName* kept);

}  // namespace roofline
