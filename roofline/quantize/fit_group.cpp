// How one group's scale and bias are found (fit_group of codes.h).
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "roofline/kernels/round/round.h"
#include "roofline/quantize/codes.h"
#include "roofline/quantize/small_floats.h"

namespace roofline {

namespace {

/// Keeps a group of equal values from dividing by zero; MLX's figure.
constexpr float kLeastScale = 1e-7f;
/// Narrower ranges that are tried: down to half in 20 steps.
constexpr int kRangeSteps = 20;
constexpr float kRangeStep = 0.025f;
/// Grids that begin at the lowest value, whose highest one comes so many codes
/// before the last, or behind it: values that lie on a grid already, as of
/// another program's codes, are found exactly.
constexpr int kFirstSpare = -2;
constexpr int kLastSpare = 4;
/// Rounds of least squares that end a search.
constexpr int kFitRounds = 2;
/// The largest group.
constexpr std::size_t kMostGroup = 128;

struct Range {
  float low = 0;
  float high = 0;
};

Range range_of(std::span<const float> values) {
  Range range;
  round_kernels().range(
      values.data(),
      static_cast<int>(values.size()),
      range.low,
      range.high);
  return range;
}

/// MLX's rule: the end that is larger in magnitude is a value of the grid, and
/// so is zero.
void affine_from_range(
    const Range& range,
    int bits,
    Encoding type,
    float& scale,
    float& bias) {
  const auto most = static_cast<float>((1 << bits) - 1);
  const bool low_is_larger = std::abs(range.low) > std::abs(range.high);
  scale = std::max((range.high - range.low) / most, kLeastScale);
  scale = low_is_larger ? scale : -scale;
  const float edge = low_is_larger ? range.low : range.high;
  const float zero = std::rint(edge / scale);
  bias = 0;
  if (zero != 0) {
    scale = edge / zero;
    bias = edge;
  }
  scale = rounded(scale, type);
  bias = rounded(bias, type);
}

/// The scale and bias of least error among those that were tried.
class BestGrid {
 public:
  BestGrid(
      std::span<const float> values,
      std::span<const float> importance,
      const MatrixFormat& format)
      : values_(values), importance_(importance), format_(format) {}

  /// Whether it is the best so far.
  bool take(float scale, float bias) {
    const double error =
        GroupGrid(format_, scale, bias).error(values_, importance_);
    if (!(error < error_)) {
      return false;
    }
    error_ = error;
    scale_ = scale;
    bias_ = bias;
    return true;
  }

  double error() const { return error_; }
  float scale() const { return scale_; }
  float bias() const { return bias_; }

 private:
  std::span<const float> values_, importance_;
  const MatrixFormat& format_;
  double error_ = std::numeric_limits<double>::infinity();
  float scale_ = 0;
  float bias_ = 0;
};

/// Scale and bias by weighed least squares for the codes that the best grid
/// gives; false where the codes can't tell one from the other.
bool fit_codes(
    std::span<const float> values,
    std::span<const float> importance,
    const MatrixFormat& format,
    const BestGrid& best,
    float& scale,
    float& bias) {
  std::array<std::uint8_t, kMostGroup> codes;
  GroupGrid(format, best.scale(), best.bias()).nearest(values, codes.data());
  double weights = 0;
  double code_sum = 0;
  double value_sum = 0;
  double squares = 0;
  double products = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double weight = importance.empty() ? 1.0 : importance[i];
    const double code = codes[i];
    weights += weight;
    code_sum += weight * code;
    value_sum += weight * values[i];
    squares += weight * code * code;
    products += weight * code * values[i];
  }
  const double spread = weights * squares - code_sum * code_sum;
  if (!(spread > 1e-9 * weights * squares)) {
    return false;
  }
  const double found = (weights * products - code_sum * value_sum) / spread;
  scale = static_cast<float>(found);
  bias = static_cast<float>((value_sum - found * code_sum) / weights);
  return scale != 0;
}

void search_affine(
    std::span<const float> values,
    std::span<const float> importance,
    const MatrixFormat& format,
    Encoding type,
    const Range& range,
    BestGrid& best) {
  float scale = 0;
  float bias = 0;
  for (int step = 0; step <= kRangeSteps; ++step) {
    const float keep = 1.0f - kRangeStep * static_cast<float>(step);
    affine_from_range(
        {range.low * keep, range.high * keep},
        format.bits,
        type,
        scale,
        bias);
    best.take(scale, bias);
  }
  const int most = (1 << format.bits) - 1;
  for (int spare = kFirstSpare; spare <= std::min(kLastSpare, most - 1);
       ++spare) {
    scale = (range.high - range.low) / static_cast<float>(most - spare);
    scale = rounded(std::max(scale, kLeastScale), type);
    best.take(scale, rounded(range.low, type));
  }
  for (int round = 0; round < kFitRounds && best.error() > 0; ++round) {
    if (!fit_codes(values, importance, format, best, scale, bias) ||
        !best.take(rounded(scale, type), rounded(bias, type))) {
      return;
    }
  }
}

void fit_affine(
    std::span<const float> values,
    std::span<const float> importance,
    const MatrixFormat& format,
    Encoding type,
    RangeSearch search,
    float& scale,
    float& bias) {
  const Range range = range_of(values);
  affine_from_range(range, format.bits, type, scale, bias);
  if (search == RangeSearch::none) {
    return;
  }
  BestGrid best(values, importance, format);
  search_affine(values, importance, format, type, range, best);
  // None where a value is no number.
  if (std::isfinite(best.error())) {
    scale = best.scale();
    bias = best.bias();
  }
}

void fit_small_floats(
    std::span<const float> values,
    std::span<const float> importance,
    const MatrixFormat& format,
    RangeSearch search,
    float& scale,
    float& bias) {
  const Range range = range_of(values);
  const float largest = std::max(std::abs(range.low), std::abs(range.high));
  const auto table =
      format.mode == QuantMode::mxfp8 ? e4m3_values() : e2m1_values();
  const float wanted = largest / table.back();
  const bool power_of_two = format.mode != QuantMode::nvfp4;
  const int first =
      power_of_two ? e8m0_above(wanted) : nearest_index(e4m3_values(), wanted);
  const auto lower = [&](int step) {
    const auto code = static_cast<std::uint8_t>(std::max(first - step, 0));
    return power_of_two ? e8m0_value(code) : e4m3_values()[code];
  };
  scale = lower(0);
  bias = 0;
  if (search == RangeSearch::none) {
    return;
  }
  BestGrid best(values, importance, format);
  const int steps = power_of_two ? 1 : 4;
  for (int step = 0; step <= steps; ++step) {
    if (best.take(lower(step), 0)) {
      scale = best.scale();
    }
  }
}

}  // namespace

void fit_group(
    std::span<const float> values,
    std::span<const float> importance,
    const MatrixFormat& format,
    Encoding scale_type,
    RangeSearch search,
    float& scale,
    float& bias) {
  if (format.mode == QuantMode::affine) {
    fit_affine(values, importance, format, scale_type, search, scale, bias);
  } else {
    fit_small_floats(values, importance, format, search, scale, bias);
  }
}

}  // namespace roofline
