// In what form the CPU kernels hold a matrix of a checkpoint: as it lies in
// the file, packed without loss, or, where no format of theirs holds it,
// quantized again or decoded.
#pragma once

#include <optional>
#include <string>

#include "roofline/kernels/packed_matrix.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/tensor.h"

namespace roofline {

struct HeldForm {
  PackedForm packed;
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

/// What loading a checkpoint lost.
struct RequantizationLoss {
  int matrices = 0;    ///< quantized anew
  double error = 0.0;  ///< requantization_error(), mean over their weights
};

/// nullopt: every matrix is held as it is stored. gpu: as MLX's ops hold them
/// rather than our kernels. exact: as for held_form().
std::optional<RequantizationLoss> requantization_loss(
    const Checkpoint& checkpoint,
    bool exact,
    bool gpu);

}  // namespace roofline
