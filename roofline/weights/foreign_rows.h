// Rows of matrices in the layouts of GPTQ, AWQ, compressed-tensors, fp8 and
// bitnet checkpoints, and of floats that lie turned, read where they lie. GPTQ,
// AWQ and turned floats store the transpose: neighbouring rows share cache
// lines, so read them one after another.
// Layouts: AutoGPTQ's and AutoAWQ's packing, compressed-tensors'
// pack_to_int32, transformers' integrations of fp8 and bitnet.
#pragma once

#include <optional>

#include "roofline/weights/encodings.h"

namespace roofline {

bool is_foreign(Encoding encoding);

/// nullopt for fp8, for turned floats, for groups in another order than the
/// columns, and for groups that aren't whole times 16 columns.
std::optional<CodeForm> foreign_form(const Tensor& tensor);

/// Reads row `row` in the tensor's foreign_form.
void read_foreign_row(
    const Tensor& tensor,
    std::int64_t row,
    const CodeForm& form,
    AffineRow out);

/// scale · (code − zero), or scale · value for fp8.
void decode_foreign_row(
    const Tensor& tensor,
    std::int64_t row,
    std::span<float> out);

}  // namespace roofline
