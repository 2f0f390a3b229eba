// Which matrices of a checkpoint are quantized, and in which format each.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/quantize/rules.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// Whether this tensor is a matrix that models multiply with often enough to
/// be worth codes: embeddings, head, projections and experts. Norms, biases,
/// routers, convolutions and tables stay floats.
bool is_quantizable(const Tensor& tensor);

struct FormatPlan {
  /// Of every quantizable matrix, by our names; `keep` where no group fits its
  /// columns or a rule says so.
  std::map<std::string, MatrixFormat, std::less<>> formats;
  /// Matrices that a rule or the default wanted in codes whose columns are no
  /// whole number of groups.
  std::vector<std::string> unfit;

  /// Bits for each weight of the checkpoint, floats at 16 bits included.
  double bits_per_weight(const Checkpoint& checkpoint) const;
  std::int64_t bytes(const Checkpoint& checkpoint) const;
};

/// Throws UserError for a rule that fits no matrix.
FormatPlan plan_formats(
    const Checkpoint& checkpoint,
    const MatrixFormat& fallback,
    std::span<const FormatRule> rules);

}  // namespace roofline
