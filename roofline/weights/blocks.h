// GGML's block encodings, one block at a time: whole-number codes with a scale
// for each group of 16 or 32 values, without loss. Every type that GGML has is
// of this form, since the grids of the I-types hold at most eight magnitudes.
// Layouts: ggml-common.h of the ggml library.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "roofline/weights/tensor.h"

namespace roofline {

/// What the 16 four-bit codes stand for.
using CodeTable = std::array<std::uint8_t, 16>;

/// Codes of one block, and for each group of its values the scale. biases are
/// written by types without an offset only.
using UnpackBlock = void (*)(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases);

/// How an encoding's rows are cut into blocks, and what is in one. With
/// value(c) = table[c], or c where there is no table:
///   w = scale · (value(code) − offset)    if there is an offset
///   w = scale · value(code) + bias        otherwise
struct BlockFormat {
  std::string_view name;
  int values = 0;  ///< a block; 1 for floats and integers
  int bytes = 0;
  int bits = 0;   ///< 4 or 8: the narrowest that holds the codes; 0: no codes
  int group = 0;  ///< values that share a scale: 16 or 32
  int offset = 0;
  const CodeTable* table = nullptr;
  UnpackBlock unpack = nullptr;
};

/// values == 0 for encodings that aren't GGML's.
const BlockFormat& block_format(Encoding encoding);

/// Values of MXFP4 and NVFP4 (e2m1), doubled, plus 16.
extern const CodeTable kFp4Table;
constexpr int kFp4Offset = 16;

/// 2^(bits − 127) / 2: the scale of doubled e2m1 values.
float e8m0_half(std::uint8_t bits);
/// An unsigned 8-bit float (e4m3) / 2; 0 for its NaN.
float ue4m3_half(std::uint8_t bits);

namespace blocks {

// K-types (blocks_k.cpp).
void unpack_q2_k(const std::byte*, std::uint8_t*, float*, float*);
void unpack_q3_k(const std::byte*, std::uint8_t*, float*, float*);
void unpack_q4_k(const std::byte*, std::uint8_t*, float*, float*);
void unpack_q5_k(const std::byte*, std::uint8_t*, float*, float*);
void unpack_q6_k(const std::byte*, std::uint8_t*, float*, float*);
void unpack_q8_k(const std::byte*, std::uint8_t*, float*, float*);

// I-types (blocks_iq.cpp).
extern const CodeTable kIq1MTable;
extern const CodeTable kIq2Table;
extern const CodeTable kIq3XxsTable;
extern const CodeTable kIq4Table;
constexpr int kIq1MOffset = 16;
constexpr int kIq2Offset = 64;
constexpr int kIq3XxsOffset = 64;
constexpr int kIq4Offset = 128;
void unpack_iq1_s(const std::byte*, std::uint8_t*, float*, float*);
void unpack_iq1_m(const std::byte*, std::uint8_t*, float*, float*);
void unpack_iq2_xxs(const std::byte*, std::uint8_t*, float*, float*);
void unpack_iq2_xs(const std::byte*, std::uint8_t*, float*, float*);
void unpack_iq2_s(const std::byte*, std::uint8_t*, float*, float*);
void unpack_iq3_xxs(const std::byte*, std::uint8_t*, float*, float*);
void unpack_iq3_s(const std::byte*, std::uint8_t*, float*, float*);
void unpack_iq4_nl(const std::byte*, std::uint8_t*, float*, float*);
void unpack_iq4_xs(const std::byte*, std::uint8_t*, float*, float*);

/// 16 bytes: values 0…15 in the low nibbles, 16…31 in the high ones.
inline void split_nibbles(const std::uint8_t* packed, std::uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = packed[i] & 15;
    codes[i + 16] = packed[i] >> 4;
  }
}

inline const std::uint8_t* unsigned_bytes(const std::byte* bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes);
}

}  // namespace blocks

}  // namespace roofline
