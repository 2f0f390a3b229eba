// Matrices in other programs' packings on their way into MLX's layout: decoded
// row by row, and as they are where MLX has the same form.
#pragma once

#include "roofline/weights/convert/rows.h"
#include "roofline/weights/safetensors.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// tensor: what ForeignTensors read of `codes`, whose bytes must outlive the
/// result. Small floats and affine codes of 4 or 8 bits in groups of 32, 64 or
/// 128 keep their codes; scales their type, biases are rounded to it.
RowTensor foreign_row_tensor(
    const Tensor& tensor,
    const SafetensorsEntry& codes);

}  // namespace roofline
