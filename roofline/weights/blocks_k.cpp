// K-types: blocks of 256 values whose scales are small whole numbers times one
// or two half floats.
#include <cstring>

#include "roofline/weights/blocks.h"
#include "roofline/weights/float16.h"

namespace roofline::blocks {

namespace {

/// Scales and minima of the 8 groups of a q4_k or q5_k block, 6 bits each.
void unpack_scales(const std::byte* block, float* scales, float* biases) {
  const float scale = half_at(block);
  const float minimum = half_at(block + 2);
  const std::uint8_t* q = unsigned_bytes(block + 4);
  for (int i = 0; i < 8; ++i) {
    const int s = i < 4 ? q[i] & 63 : (q[i + 4] & 15) | (q[i - 4] >> 6 << 4);
    const int m = i < 4 ? q[i + 4] & 63 : (q[i + 4] >> 4) | (q[i] >> 6 << 4);
    scales[i] = scale * static_cast<float>(s);
    biases[i] = -minimum * static_cast<float>(m);
  }
}

/// Each 32 bytes: one group in the low nibbles, the next in the high ones.
void split_group_nibbles(const std::uint8_t* packed, std::uint8_t* codes) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; ++i) {
      codes[64 * pair + i] = packed[32 * pair + i] & 15;
      codes[64 * pair + 32 + i] = packed[32 * pair + i] >> 4;
    }
  }
}

/// Two bits of value i: 128 values share 32 bytes.
std::uint8_t two_bits(const std::uint8_t* packed, int i) {
  return packed[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

}  // namespace

void unpack_q2_k(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  const std::uint8_t* packed_scales = unsigned_bytes(block);
  const float scale = half_at(block + 80);
  const float minimum = half_at(block + 82);
  for (int group = 0; group < 16; ++group) {
    scales[group] = scale * static_cast<float>(packed_scales[group] & 15);
    biases[group] = -minimum * static_cast<float>(packed_scales[group] >> 4);
  }
  for (int i = 0; i < 256; ++i) {
    codes[i] = two_bits(unsigned_bytes(block + 16), i);
  }
}

void unpack_q3_k(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const std::uint8_t* high = unsigned_bytes(block);
  const std::uint8_t* packed = unsigned_bytes(block + 32);
  const std::uint8_t* s = unsigned_bytes(block + 96);
  const float scale = half_at(block + 108);
  for (int group = 0; group < 16; ++group) {
    const int low4 = group < 8 ? s[group] & 15 : s[group - 8] >> 4;
    const int high2 = s[8 + group % 4] >> (group / 4 * 2) & 3;
    scales[group] = scale * static_cast<float>((low4 | high2 << 4) - 32);
  }
  for (int i = 0; i < 256; ++i) {
    const int third = high[i % 32] >> (i / 32) & 1;
    codes[i] = static_cast<std::uint8_t>(two_bits(packed, i) | third << 2);
  }
}

void unpack_q4_k(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  unpack_scales(block, scales, biases);
  split_group_nibbles(unsigned_bytes(block + 16), codes);
}

void unpack_q5_k(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  unpack_scales(block, scales, biases);
  split_group_nibbles(unsigned_bytes(block + 48), codes);
  const std::uint8_t* fifth = unsigned_bytes(block + 16);
  for (int i = 0; i < 256; ++i) {
    codes[i] |= static_cast<std::uint8_t>((fifth[i % 32] >> (i / 32) & 1) << 4);
  }
}

void unpack_q6_k(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const std::uint8_t* low = unsigned_bytes(block);
  const std::uint8_t* high = unsigned_bytes(block + 128);
  const float scale = half_at(block + 208);
  for (int group = 0; group < 16; ++group) {
    const auto s = static_cast<std::int8_t>(block[192 + group]);
    scales[group] = scale * static_cast<float>(s);
  }
  // Of 128 values the first 64 lie in the low nibbles of 64 bytes, the others
  // in the high ones; two more bits each lie in 32 bytes.
  for (int i = 0; i < 256; ++i) {
    const std::uint8_t byte = low[i / 128 * 64 + i % 64];
    const int low4 = i % 128 < 64 ? byte & 15 : byte >> 4;
    codes[i] = static_cast<std::uint8_t>(low4 | two_bits(high, i) << 4);
  }
}

/// What llama.cpp makes of activations: a float, 256 int8, 16 sums.
void unpack_q8_k(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  float scale;
  std::memcpy(&scale, block, sizeof(scale));
  for (int group = 0; group < 8; ++group) {
    scales[group] = scale;
  }
  for (int i = 0; i < 256; ++i) {
    codes[i] = unsigned_bytes(block + 4)[i] ^ 0x80;  // int8 + 128
  }
}

}  // namespace roofline::blocks
