// A matrix of codes whose scales and offsets are trained while the codes stay:
// it is decoded where a graph needs it, and its gradient is folded to groups
// right away, so that no gradient of the whole matrix outlives its product.
//   w[r, c] = scale·code + bias,  scale = round(unit·s),
//   bias = round(unit·(o − middle·s))
// Rounding is to the type in which they are stored, as a reader will see them;
// the gradient passes through it unchanged.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <mlx/array.h>

#include "roofline/weights/tensor.h"

namespace roofline {

namespace mx = mlx::core;

struct TrainedCodes {
  int rows = 0;
  int cols = 0;
  int group_size = 64;
  /// Of the codes' range: scales and offsets then hardly depend on each other.
  float middle = 0;
  /// Makes trained values of all matrices alike in size.
  float unit = 1;
  Encoding scale_type = Encoding::f32;
  std::vector<std::uint8_t> codes;  ///< [rows, cols]

  int groups() const { return cols / group_size; }
  /// As stored, from the trained values s and o.
  float scale(float s) const;
  float bias(float s, float o) const;
};

/// One row's weights: out [cols]. scales, offsets: all rows' [rows, groups].
void decode_coded_row(
    const TrainedCodes& codes,
    int row,
    const float* scales,
    const float* offsets,
    float* out);

/// Adds a row's gradient [cols], folded to groups, to all rows'.
void fold_coded_row(
    const TrainedCodes& codes,
    int row,
    const float* gradient,
    float* d_scales,
    float* d_offsets);

/// [rows, cols]. scales, offsets: [rows, groups] float32, both differentiable.
mx::array coded_weight(
    std::shared_ptr<const TrainedCodes> codes,
    const mx::array& scales,
    const mx::array& offsets);

/// The rows of ids [tokens] int32: [tokens, cols].
mx::array coded_rows(
    std::shared_ptr<const TrainedCodes> codes,
    const mx::array& scales,
    const mx::array& offsets,
    const mx::array& ids);

}  // namespace roofline
