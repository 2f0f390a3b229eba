// How a matrix is to be stored: MLX's modes of quantization, or floats.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "roofline/weights/tensor.h"

namespace roofline {

enum class QuantMode {
  keep,    ///< 16-bit floats
  affine,  ///< w = scale·code + bias, codes of 2 to 8 bits
  mxfp4,   ///< e2m1 with a power of two for each 32
  nvfp4,   ///< e2m1 with an e4m3 scale for each 16
  mxfp8,   ///< e4m3 with a power of two for each 32
};

/// "affine", "mxfp4", …; keep is "keep".
std::string_view mode_name(QuantMode mode);

struct MatrixFormat {
  QuantMode mode = QuantMode::affine;
  int bits = 4;
  int group_size = 64;

  friend bool operator==(const MatrixFormat&, const MatrixFormat&) = default;

  /// Codes, scales and biases together; scales and biases of affine groups are
  /// 16-bit floats.
  double bits_per_weight() const;
  /// Bytes of rows × cols.
  std::int64_t bytes(std::int64_t rows, std::int64_t cols) const;
  /// Whether rows of so many columns can be cut into its groups.
  bool fits(std::int64_t cols) const;
  /// "4 bits/64", "mxfp4", "16-bit floats"
  std::string text() const;
};

/// Of one of the small-float modes, whose bits and groups are fixed.
MatrixFormat small_float_format(QuantMode mode);

/// "4" (groups of `group_size`), "6/32", "mxfp4", "nvfp4", "mxfp8", "keep".
/// Throws UserError that names `option`.
MatrixFormat parse_format(
    std::string_view text,
    int group_size,
    std::string_view option);

/// Checks bits and group of an affine format. Throws UserError.
void require_affine_format(int bits, int group_size);

}  // namespace roofline
