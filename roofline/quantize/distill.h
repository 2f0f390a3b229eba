// Distillation of a quantized model (mlx-lm calls it DWQ): the codes stay,
// scales and biases of all matrices together follow the float model's
// predictions, by gradient descent on the divergence of the logits. The source
// runs once, layer by layer; the quantized model is in memory, a byte a code.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "roofline/quantize/codes.h"
#include "roofline/quantize/distilled_names.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

struct DistillOptions {
  /// Windows of text to learn from; some are held out to tell how it goes.
  std::vector<std::vector<std::int32_t>> windows;
  int steps = 120;
  /// Adam's, in units of a matrix's scales.
  double learning_rate = 2e-3;
  /// Windows are taken together until a step has so many.
  int step_tokens = 1024;
  /// Ends early, with the rate brought down in time; 0: no limit.
  double most_seconds = 0;
  /// Trains the norms' weights, too.
  bool norms = false;
};

struct DistillResult {
  int steps = 0;
  double seconds = 0;
  /// Divergence on the windows held out, nats a token.
  double kl_before = 0;
  double kl_after = 0;
};

using FloatsByName = std::map<std::string, FloatMatrix, std::less<>>;

/// source: the model to follow. trained: distilled_names(). student: what the
/// quantized model has besides their codes, the values of the other codes among
/// it; that stays as it is. Changes scales and biases of trained codes; never
/// for the worse on the windows held out.
/// norms: receives norms that were trained. Throws UserError without windows,
/// UnsupportedError for models that can't be trained. stop: true ends training
/// with the best so far.
DistillResult distill(
    const Checkpoint& source,
    const Checkpoint& student,
    const NameSet& trained,
    const DistillOptions& options,
    const std::function<void(double share, const std::string& what)>& progress,
    const std::function<bool()>& stop,
    CodesByName& codes,
    FloatsByName& norms);

}  // namespace roofline
