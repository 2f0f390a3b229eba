// Floats into GGML's block encodings. Scales are searched for: each block's are
// those of least squared error among several starts, each improved by least
// squares until its codes no longer change.
#pragma once

#include <cstddef>
#include <span>

#include "roofline/weights/tensor.h"

namespace roofline {

/// Whether encode_row() can write it: f32, f16, bf16, q4_0, q4_1, q5_0, q8_0,
/// q4_k.
bool can_encode(Encoding encoding);

/// values: a whole number of blocks. out: row_bytes(encoding, values.size()).
/// What isn't finite becomes the nearest code, or itself in a float encoding.
void encode_row(
    Encoding encoding,
    std::span<const float> values,
    std::span<std::byte> out);

}  // namespace roofline
