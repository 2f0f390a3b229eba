// In what form the CPU kernels hold a matrix of a checkpoint: as it lies in
// the file, packed without loss, or, where no format of theirs holds it,
// quantized again or decoded.
#pragma once

#include <optional>
#include <string>

#include "roofline/kernels/packed_matrix.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/tensor.h"

namespace roofline {

struct HeldForm {
  PackedFormat format = PackedFormat::f32;
  /// Read where it lies.
  bool in_place = false;
  /// Quantized anew to this.
  std::optional<AffineForm> quantize;
};

/// exact: rather decoded to floats than with a loss.
HeldForm held_form(const Tensor& tensor, bool exact);

/// "q8/32", "in place": for people.
std::string held_name(const HeldForm& form);

/// What quantizing to `form` changes: the root of the mean square of the
/// differences over that of the values, of some rows spread over the tensor.
double requantization_error(const Tensor& tensor, AffineForm form);

}  // namespace roofline
