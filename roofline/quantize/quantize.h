// Quantizes a checkpoint matrix by matrix. Plain rounding looks at nothing but
// the matrix; calibrated methods run a text through the model, one layer after
// the other, so that each layer is quantized for the inputs that the quantized
// layers before it give. In memory are one layer's weights, the text's residual
// stream and the moments of one layer's inputs.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "roofline/quantize/codes.h"
#include "roofline/quantize/distill.h"
#include "roofline/quantize/plan_formats.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

enum class QuantizeMethod {
  plain,  ///< each value to the nearest
  awq,    ///< loud columns scaled up first (awq.h)
  gptq,   ///< errors spread over later columns, then refined (gptq.h, refine.h)
  dwq,    ///< scales and biases distilled, after another method (distill.h)
};

/// Where results go, in the order in which they are made.
class QuantizeSink {
 public:
  virtual ~QuantizeSink() = default;
  /// Rows of a matrix from first_row on, or all of it; name: ours.
  virtual void put_codes(
      const std::string& name,
      const PackedCodes& codes,
      std::int64_t first_row) = 0;
  /// Whether a matrix may come in pieces.
  virtual bool takes_pieces(const std::string& name) const {
    (void)name;
    return false;
  }
  /// Values that were changed and stay floats.
  virtual void put_floats(const std::string& name, const FloatMatrix& values) {
    (void)name;
    (void)values;
  }
};

struct QuantizeOptions {
  QuantizeMethod method = QuantizeMethod::plain;
  /// The one that dwq goes on from; not dwq.
  QuantizeMethod start = QuantizeMethod::gptq;
  DistillOptions distill;
  /// Type of scales and biases: f16, bf16 or f32.
  Encoding scale_type = Encoding::f16;
  /// Windows of calibration text, each read from an empty cache. Needed by
  /// calibrated methods.
  std::vector<std::vector<std::int32_t>> windows;
  /// Weights that are worked on at a time, where a matrix may come in pieces: a
  /// head of a large vocabulary needn't be in memory whole.
  std::int64_t piece_weights = std::int64_t{8} << 20;
  /// Rounds of refine() after GPTQ.
  int refine_rounds = 2;
  /// GPTQ also makes up for this share of what the layers before have lost, by
  /// least squares (as GPTAQ, arXiv 2504.02692).
  float make_up_share = 0.5f;
  /// Share of the inputs' mean moment that is added to each.
  float damping = 0.01f;
  /// The same for a tied embedding, whose rows are also looked up: there every
  /// column counts alike.
  float lookup_damping = 0.25f;
  /// Share done, and what is at work.
  std::function<void(double share, const std::string& what)> progress;
  /// Looked at between matrices; true ends with Cancelled.
  std::function<bool()> stop;
};

/// Windows of `window` tokens from all over the text, `total` tokens in all or
/// as many as there are; first_token takes the place of each first one.
std::vector<std::vector<std::int32_t>> spread_windows(
    std::span<const std::int32_t> tokens,
    int window,
    int total,
    std::optional<std::int32_t> first_token);

/// Thrown when options.stop said so.
struct QuantizeCancelled {};

/// Quantizes all matrices of the plan. Throws UserError when a calibrated
/// method has no windows, QuantizeCancelled. Returns how distillation went.
std::optional<DistillResult> quantize_model(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    QuantizeSink& sink);

}  // namespace roofline
