// How a checkpoint's tensors are stored as MLX arrays, and the reading of them
// in that form.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <mlx/array.h>

#include "roofline/model/graph_parts.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// How a tensor will be stored; equal ones can be stacked.
struct GraphForm {
  enum class Kind {
    dense,
    words,
    codes,
    requantized,
    small_floats,
    decoded,
  } kind = Kind::dense;
  mx::Dtype dtype = mx::float16;  ///< of floats, or of scales and biases
  int bits = 0;
  int group_size = 0;
  std::string mode = "affine";

  friend bool operator==(const GraphForm&, const GraphForm&) = default;
};

/// The type of floats of this encoding; float16 for codes.
mx::Dtype dtype_of(Encoding encoding);

/// decoded: the type of floats that are made here.
GraphForm form_of(const Tensor& tensor, mx::Dtype decoded);

std::int64_t rows_of(std::span<const Tensor* const> tensors);

/// Tensors of one form, stacked by rows.
GraphMatrixPart read_part(
    std::span<const Tensor* const> tensors,
    const GraphForm& form);

/// All rows of tensors of any encoding as float32.
GraphMatrixPart copy_decoded(std::span<const Tensor* const> tensors);

/// Casts right away, so that the wide copy can go.
mx::array cast_now(const mx::array& array, mx::Dtype dtype);

}  // namespace roofline
