// Reads rows of a tensor in any encoding: as floats, or as affine codes when
// the encoding is of the form w = scale·code + bias.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/weights/blocks.h"
#include "roofline/weights/tensor.h"

namespace roofline {

/// "q4_1", "bf16", "affine", …
std::string_view encoding_name(Encoding encoding);

/// The same with what a tensor adds: "affine 4-bit/64", "gptq 4-bit/128".
std::string encoding_text(const Tensor& tensor);

/// Whether values are stored as they are: f32, f16 or bf16.
bool is_float(Encoding encoding);

/// Bytes of a row of `cols` values; nullopt when they are no whole number of
/// blocks or too many to count. Only for GGML's encodings.
std::optional<std::uint64_t> row_bytes(Encoding encoding, std::int64_t cols);

/// Decodes row `row` into out[cols], float32.
void decode_row(const Tensor& tensor, std::int64_t row, std::span<float> out);

/// The affine form that holds an encoding without loss.
struct AffineForm {
  int bits = 0;        ///< 4 or 8: the narrowest that our kernels have
  int group_size = 0;  ///< 32, 64 or 128
};

/// nullopt when the encoding has no such form: floats, codes that stand for
/// values of a table, groups of 16.
std::optional<AffineForm> affine_form(const Tensor& tensor);

/// The form of codes that holds an encoding without loss. value(c) = table[c],
/// or c where there is no table; w = scale·value(code) + bias.
struct CodeForm {
  int bits = 0;        ///< 4 or 8
  int group_size = 0;  ///< 16, 32, 64 or 128
  const CodeTable* table = nullptr;
  /// Every bias is −offset·scale; 0: they are what they are.
  int offset = 0;
};

/// nullopt for floats and for what is no codes with a scale a group.
std::optional<CodeForm> code_form(const Tensor& tensor);

/// Rows as codes, with a scale and a bias for each group of the form.
struct AffineRow {
  std::span<std::uint8_t> codes;  ///< [cols]
  std::span<float> scales;        ///< [cols / group_size]
  std::span<float> biases;        ///< [cols / group_size]
};

/// Reads row `row` in the tensor's affine_form. Throws BugError if it has none.
void read_affine_row(const Tensor& tensor, std::int64_t row, AffineRow out);
/// Reads row `row` in the tensor's code_form. Throws BugError if it has none.
void read_code_row(const Tensor& tensor, std::int64_t row, AffineRow out);

/// Reads row `row` of GGML's mxfp4 or nvfp4 as MLX holds it: codes and the
/// groups' scales, a byte each ([cols / 32] or [cols / 16]).
void read_small_float_row(
    const Tensor& tensor,
    std::int64_t row,
    std::span<std::uint8_t> codes,
    std::span<std::byte> scales);

/// Quantizes floats into affine codes, MLX's rule: the end of the range that
/// is larger in magnitude is represented exactly, zero too. bits 4 or 8; the
/// group size must divide the number of values. What isn't finite becomes the
/// nearest code.
void quantize_row(
    std::span<const float> values,
    AffineForm form,
    AffineRow out);

}  // namespace roofline
