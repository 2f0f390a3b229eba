#include "roofline/quantize/plan_formats.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

constexpr std::int64_t kFloatBytes = 2;

bool ends_with_any(
    std::string_view name,
    std::span<const std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) {
    return name.ends_with(end);
  });
}

void require_rules_used(
    const Checkpoint& checkpoint,
    std::span<const FormatRule> rules) {
  const auto layers = static_cast<int>(checkpoint.spec().layers.size());
  for (const FormatRule& rule : rules) {
    const bool used = std::any_of(
        checkpoint.tensors().begin(),
        checkpoint.tensors().end(),
        [&](const Tensor& tensor) {
          return is_quantizable(tensor) &&
                 matches(rule.pattern, tensor.name, layers);
        });
    if (!used) {
      fail<UserError>(
          fmt::format("--rule: \"{}\" fits no matrix", rule.pattern),
          "Names are like layers.3.attention.q, layers.3.feed_forward.down, "
          "embed and head",
          "See the names with `roofline inspect`");
    }
  }
}

}  // namespace

bool is_quantizable(const Tensor& tensor) {
  constexpr std::array<std::string_view, 9> kFloats = {
      "norm",
      ".bias",
      "router",
      "conv",
      "positions",
      "sinks",
      "decay",
      "skip",
      "shared_gate"};
  return tensor.rows > 1 && !ends_with_any(tensor.name, kFloats);
}

std::int64_t FormatPlan::bytes(const Checkpoint& checkpoint) const {
  std::int64_t sum = 0;
  for (const Tensor& tensor : checkpoint.tensors()) {
    const auto found = formats.find(tensor.name);
    sum += found == formats.end()
               ? tensor.rows * tensor.cols * kFloatBytes
               : found->second.bytes(tensor.rows, tensor.cols);
  }
  return sum;
}

double FormatPlan::bits_per_weight(const Checkpoint& checkpoint) const {
  std::int64_t weights = 0;
  for (const Tensor& tensor : checkpoint.tensors()) {
    weights += tensor.rows * tensor.cols;
  }
  return 8.0 * static_cast<double>(bytes(checkpoint)) /
         static_cast<double>(std::max<std::int64_t>(weights, 1));
}

FormatPlan plan_formats(
    const Checkpoint& checkpoint,
    const MatrixFormat& fallback,
    std::span<const FormatRule> rules) {
  require_rules_used(checkpoint, rules);
  const auto layers = static_cast<int>(checkpoint.spec().layers.size());
  FormatPlan plan;
  for (const Tensor& tensor : checkpoint.tensors()) {
    if (!is_quantizable(tensor)) {
      continue;
    }
    auto format = format_for(tensor.name, layers, rules, fallback);
    if (!format.fits(tensor.cols)) {
      plan.unfit.push_back(tensor.name);
      format = {QuantMode::keep, 16, 1};
    }
    plan.formats.emplace(tensor.name, format);
  }
  return plan;
}

}  // namespace roofline
