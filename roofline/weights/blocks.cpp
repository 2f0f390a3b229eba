#include "roofline/weights/blocks.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "roofline/weights/float16.h"

namespace roofline {

using namespace blocks;

namespace {

constexpr int kSmallBlock = 32;
constexpr int kSuperBlock = 256;

/// Bit i of the four bytes is the fifth bit of code i.
void add_fifth_bits(const std::uint8_t* bits, std::uint8_t* codes) {
  for (int i = 0; i < 32; ++i) {
    codes[i] |= static_cast<std::uint8_t>((bits[i / 8] >> (i % 8) & 1) << 4);
  }
}

/// 128 signs: 1 is +scale, 0 is −scale.
void unpack_q1_0(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const std::uint8_t* bits = unsigned_bytes(block + 2);
  for (int i = 0; i < 128; ++i) {
    codes[i] = bits[i / 8] >> (i % 8) & 1 ? 2 : 0;
  }
  for (int group = 0; group < 4; ++group) {
    scales[group] = half_at(block);
  }
}

/// 64 values of −1 to 2 times the scale, four a byte.
void unpack_q2_0(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const std::uint8_t* packed = unsigned_bytes(block + 2);
  for (int i = 0; i < 64; ++i) {
    codes[i] = packed[i / 4] >> (i % 4 * 2) & 3;
  }
  scales[0] = scales[1] = half_at(block);
}

void unpack_q4_0(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  scales[0] = half_at(block);
  split_nibbles(unsigned_bytes(block + 2), codes);
}

void unpack_q4_1(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  scales[0] = half_at(block);
  biases[0] = half_at(block + 2);
  split_nibbles(unsigned_bytes(block + 4), codes);
}

void unpack_q5_0(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  scales[0] = half_at(block);
  split_nibbles(unsigned_bytes(block + 6), codes);
  add_fifth_bits(unsigned_bytes(block + 2), codes);
}

void unpack_q5_1(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  scales[0] = half_at(block);
  biases[0] = half_at(block + 2);
  split_nibbles(unsigned_bytes(block + 8), codes);
  add_fifth_bits(unsigned_bytes(block + 4), codes);
}

void unpack_q8_0(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  scales[0] = half_at(block);
  const std::uint8_t* values = unsigned_bytes(block + 2);
  for (int i = 0; i < kSmallBlock; ++i) {
    codes[i] = values[i] ^ 0x80;  // int8 + 128
  }
}

/// A digit of a number in base 3 that was scaled to 256/243: the byte times a
/// power of 3, whose upper part is the digit.
std::uint8_t ternary_digit(std::uint8_t packed, int power) {
  const auto shifted = static_cast<std::uint8_t>(packed * power);
  return static_cast<std::uint8_t>(shifted * 3 >> 8);
}

/// Five digits a byte for 240 values, four for the last 16.
void unpack_tq1_0(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const std::uint8_t* packed = unsigned_bytes(block);
  struct Part {
    int bytes;
    int digits;
  };
  for (const Part part : {Part{32, 5}, Part{16, 5}, Part{4, 4}}) {
    int power = 1;
    for (int digit = 0; digit < part.digits; ++digit, power *= 3) {
      for (int i = 0; i < part.bytes; ++i) {
        *codes++ = ternary_digit(packed[i], power);
      }
    }
    packed += part.bytes;
  }
  for (int group = 0; group < 8; ++group) {
    scales[group] = half_at(block + 52);
  }
}

void unpack_tq2_0(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const std::uint8_t* packed = unsigned_bytes(block);
  for (int i = 0; i < kSuperBlock; ++i) {
    codes[i] = packed[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
  }
  for (int group = 0; group < 8; ++group) {
    scales[group] = half_at(block + 64);
  }
}

void unpack_mxfp4(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  scales[0] = e8m0_half(unsigned_bytes(block)[0]);
  split_nibbles(unsigned_bytes(block + 1), codes);
}

/// Four groups of 16: their scales, then eight bytes each.
void unpack_nvfp4(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const std::uint8_t* bytes = unsigned_bytes(block);
  for (int group = 0; group < 4; ++group) {
    scales[group] = ue4m3_half(bytes[group]);
    const std::uint8_t* packed = bytes + 4 + 8 * group;
    for (int i = 0; i < 8; ++i) {
      codes[16 * group + i] = packed[i] & 15;
      codes[16 * group + 8 + i] = packed[i] >> 4;
    }
  }
}

constexpr BlockFormat plain(std::string_view name, int bytes) {
  return {name, 1, bytes, 0, 0, 0, nullptr, nullptr};
}

}  // namespace

const CodeTable kFp4Table =
    {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};

float e8m0_half(std::uint8_t bits) {
  if (bits < 2) {
    return std::bit_cast<float>(std::uint32_t{0x00200000} << bits);
  }
  return std::bit_cast<float>(std::uint32_t{bits - 1u} << 23);
}

float ue4m3_half(std::uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const auto mantissa = static_cast<float>(bits & 7);
  if (bits == 0x7f) {
    return 0;
  }
  return exponent == 0 ? std::ldexp(mantissa, -10)
                       : std::ldexp(8 + mantissa, exponent - 11);
}

const BlockFormat& block_format(Encoding encoding) {
  // In the order of Encoding.
  static const std::array kFormats = {
      plain("f32", 4),
      plain("f16", 2),
      plain("bf16", 2),
      plain("f64", 8),
      plain("i8", 1),
      plain("i16", 2),
      plain("i32", 4),
      plain("i64", 8),
      BlockFormat{"q1_0", 128, 18, 4, 32, 1, nullptr, unpack_q1_0},
      BlockFormat{"q2_0", 64, 18, 4, 32, 1, nullptr, unpack_q2_0},
      BlockFormat{"q4_0", 32, 18, 4, 32, 8, nullptr, unpack_q4_0},
      BlockFormat{"q4_1", 32, 20, 4, 32, 0, nullptr, unpack_q4_1},
      BlockFormat{"q5_0", 32, 22, 8, 32, 16, nullptr, unpack_q5_0},
      BlockFormat{"q5_1", 32, 24, 8, 32, 0, nullptr, unpack_q5_1},
      BlockFormat{"q8_0", 32, 34, 8, 32, 128, nullptr, unpack_q8_0},
      BlockFormat{"q2_k", 256, 84, 4, 16, 0, nullptr, unpack_q2_k},
      BlockFormat{"q3_k", 256, 110, 4, 16, 4, nullptr, unpack_q3_k},
      BlockFormat{"q4_k", 256, 144, 4, 32, 0, nullptr, unpack_q4_k},
      BlockFormat{"q5_k", 256, 176, 8, 32, 0, nullptr, unpack_q5_k},
      BlockFormat{"q6_k", 256, 210, 8, 16, 32, nullptr, unpack_q6_k},
      BlockFormat{"q8_k", 256, 292, 8, 32, 128, nullptr, unpack_q8_k},
      BlockFormat{"iq1_s", 256, 50, 4, 32, 0, nullptr, unpack_iq1_s},
      BlockFormat{
          "iq1_m",
          256,
          56,
          4,
          16,
          kIq1MOffset,
          &kIq1MTable,
          unpack_iq1_m},
      BlockFormat{
          "iq2_xxs",
          256,
          66,
          4,
          32,
          kIq2Offset,
          &kIq2Table,
          unpack_iq2_xxs},
      BlockFormat{
          "iq2_xs",
          256,
          74,
          4,
          16,
          kIq2Offset,
          &kIq2Table,
          unpack_iq2_xs},
      BlockFormat{
          "iq2_s",
          256,
          82,
          4,
          16,
          kIq2Offset,
          &kIq2Table,
          unpack_iq2_s},
      BlockFormat{
          "iq3_xxs",
          256,
          98,
          4,
          32,
          kIq3XxsOffset,
          &kIq3XxsTable,
          unpack_iq3_xxs},
      BlockFormat{"iq3_s", 256, 110, 4, 32, 0, nullptr, unpack_iq3_s},
      BlockFormat{
          "iq4_nl",
          32,
          18,
          4,
          32,
          kIq4Offset,
          &kIq4Table,
          unpack_iq4_nl},
      BlockFormat{
          "iq4_xs",
          256,
          136,
          4,
          32,
          kIq4Offset,
          &kIq4Table,
          unpack_iq4_xs},
      BlockFormat{"tq1_0", 256, 54, 4, 32, 1, nullptr, unpack_tq1_0},
      BlockFormat{"tq2_0", 256, 66, 4, 32, 1, nullptr, unpack_tq2_0},
      BlockFormat{"mxfp4", 32, 17, 4, 32, kFp4Offset, &kFp4Table, unpack_mxfp4},
      BlockFormat{"nvfp4", 64, 36, 4, 16, kFp4Offset, &kFp4Table, unpack_nvfp4},
  };
  static constexpr BlockFormat kNone{};
  const auto index = static_cast<std::size_t>(encoding);
  return index < kFormats.size() ? kFormats[index] : kNone;
}

}  // namespace roofline
