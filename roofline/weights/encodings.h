// Reads rows of a tensor in any encoding: as floats, or as affine codes when
// the encoding is of the form w = scale·code + bias.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "roofline/weights/tensor.h"

namespace roofline {

/// "q4_1", "bf16", "affine", …
std::string_view encoding_name(Encoding encoding);

/// Bytes of a row of `cols` values; nullopt when they are no whole number of
/// blocks or too many to count. Not for mlx_affine.
std::optional<std::uint64_t> row_bytes(Encoding encoding, std::int64_t cols);

/// Decodes row `row` into out[cols], float32.
void decode_row(const Tensor& tensor, std::int64_t row, std::span<float> out);

/// The affine form that holds an encoding without loss.
struct AffineForm {
  int bits = 0;        ///< 4 or 8: the narrowest that our kernels have
  int group_size = 0;  ///< 32, 64 or 128
};

/// nullopt when the encoding has no such form (floats; q2_k, q3_k and q6_k,
/// whose groups of 16 our kernels don't have).
std::optional<AffineForm> affine_form(const Tensor& tensor);

/// Rows as codes: w[c] = scales[c / group]·codes[c] + biases[c / group].
struct AffineRow {
  std::span<std::uint8_t> codes;  ///< [cols]
  std::span<float> scales;        ///< [cols / group_size]
  std::span<float> biases;        ///< [cols / group_size]
};

/// Reads row `row` in the tensor's affine_form. Throws BugError if it has none.
void read_affine_row(const Tensor& tensor, std::int64_t row, AffineRow out);

/// Quantizes floats into affine codes, MLX's rule: the end of the range that
/// is larger in magnitude is represented exactly, zero too. bits 4 or 8; the
/// group size must divide the number of values. What isn't finite becomes the
/// nearest code.
void quantize_row(
    std::span<const float> values,
    AffineForm form,
    AffineRow out);

}  // namespace roofline
