#include "roofline/model/held_form.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "roofline/model/graph_weights.h"

namespace roofline {

namespace {

/// What small floats and other layouts that have no form of codes become: the
/// narrowest that leaves the answers as they are (docs/formats.md has the
/// figures).
constexpr AffineForm kRequantized{8, kGroup};
/// Rows that stand for a tensor when its error is measured.
constexpr std::int64_t kSampledRows = 32;

/// Whether half floats, with a power of two for the matrix, hold the scales and
/// biases of the tensor's codes. Not where these are products: of a block's
/// scale and a part's, of a scale and a zero.
bool halves_hold_scales(const Tensor& tensor) {
  switch (tensor.encoding) {
    case Encoding::q2_k:
    case Encoding::q3_k:
    case Encoding::q4_k:
    case Encoding::q5_k:
    case Encoding::q6_k:
    case Encoding::q8_k:
    case Encoding::iq1_s:
    case Encoding::iq1_m:
    case Encoding::iq2_xxs:
    case Encoding::iq2_xs:
    case Encoding::iq2_s:
    case Encoding::iq3_xxs:
    case Encoding::iq3_s:
    case Encoding::iq4_xs:
      return false;
    case Encoding::mlx_affine:
      return tensor.affine.dtype != Encoding::f32;
    case Encoding::gptq:
    case Encoding::awq:
    case Encoding::packed_int:
    case Encoding::plain_int8:
      return tensor.foreign.zeros.empty() &&
             tensor.foreign.scale_type != Tensor::Foreign::Scale::f32;
    default:
      return true;
  }
}

}  // namespace

HeldForm held_form(const Tensor& tensor, bool exact) {
  if (is_float(tensor.encoding)) {
    return {dense_view(tensor).format, true, std::nullopt};
  }
  const bool whole_groups = tensor.cols % kGroup == 0;
  const bool holds = !exact || halves_hold_scales(tensor);
  if (const auto form = code_form(tensor); form && whole_groups && holds) {
    return {packed_form(*form), false, std::nullopt};
  }
  if (!exact && whole_groups) {
    return {PackedFormat::q8, false, kRequantized};
  }
  // Four significant bits times a power of two fit in bf16.
  return {
      tensor.encoding == Encoding::mlx_mxfp8 ? PackedFormat::bf16
                                             : PackedFormat::f32,
      false,
      std::nullopt};
}

std::string held_name(const HeldForm& form) {
  return form.in_place ? "in place" : form_name(form.packed);
}

double requantization_error(const Tensor& tensor, AffineForm form) {
  const auto cols = static_cast<std::size_t>(tensor.cols);
  const auto group = static_cast<std::size_t>(form.group_size);
  std::vector<float> row(cols);
  std::vector<std::uint8_t> codes(cols);
  std::vector<float> scales(cols / group);
  std::vector<float> biases(scales.size());
  double squares = 0;
  double errors = 0;
  const std::int64_t count = std::min(kSampledRows, tensor.rows);
  for (std::int64_t i = 0; i < count; ++i) {
    decode_row(tensor, i * tensor.rows / count, row);
    quantize_row(row, form, {codes, scales, biases});
    for (std::size_t c = 0; c < cols; ++c) {
      const float back = scales[c / group] * codes[c] + biases[c / group];
      errors += (back - row[c]) * (back - row[c]);
      squares += row[c] * row[c];
    }
  }
  return squares > 0 ? std::sqrt(errors / squares) : 0;
}

std::optional<RequantizationLoss> requantization_loss(
    const Checkpoint& checkpoint,
    bool exact,
    bool gpu) {
  RequantizationLoss loss;
  double errors = 0;
  double weights = 0;
  for (const Tensor& tensor : checkpoint.tensors()) {
    const bool again = gpu ? !exact && requantized_in_graph(tensor)
                           : held_form(tensor, exact).quantize.has_value();
    if (tensor.rows == 1 || !again) {
      continue;
    }
    const auto count = static_cast<double>(tensor.rows * tensor.cols);
    ++loss.matrices;
    errors += count * requantization_error(tensor, kRequantized);
    weights += count;
  }
  if (loss.matrices == 0) {
    return std::nullopt;
  }
  loss.error = errors / weights;
  return loss;
}

}  // namespace roofline
