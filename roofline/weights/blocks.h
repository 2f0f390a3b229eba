// GGML's block encodings, one block at a time. Affine kinds give codes with a
// scale and a bias for each 32 values, without loss; the others give floats.
// Layouts: ggml-common.h of the ggml library.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/weights/tensor.h"

namespace roofline {

struct BlockShape {
  int values = 0;
  int bytes = 0;
};

/// {1, size} for floats. Not for mlx_affine.
BlockShape block_shape(Encoding encoding);

/// Codes of one block, and for each 32 of its values scale and bias:
/// w = scale·code + bias.
using UnpackBlock = void (*)(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases);

/// nullptr for encodings that aren't affine in groups of 32.
UnpackBlock block_unpacker(Encoding encoding);

/// Decodes one block of q2_k, q3_k or q6_k into 256 floats.
void decode_q2_k(const std::byte* block, float* out);
void decode_q3_k(const std::byte* block, float* out);
void decode_q6_k(const std::byte* block, float* out);

}  // namespace roofline
