#include "roofline/weights/blocks.h"

#include "roofline/base/errors.h"
#include "roofline/weights/float16.h"

namespace roofline {

namespace {

constexpr int kSmallBlock = 32;
constexpr int kSuperBlock = 256;

float half_at(const std::byte* bytes) {
  return f16_to_float(load_u16(bytes));
}

const std::uint8_t* unsigned_bytes(const std::byte* bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes);
}

/// 16 bytes: values 0…15 in the low nibbles, 16…31 in the high ones.
void split_nibbles(const std::uint8_t* packed, std::uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = packed[i] & 15;
    codes[i + 16] = packed[i] >> 4;
  }
}

/// Bit i of the four bytes is the fifth bit of code i.
void add_fifth_bits(const std::uint8_t* bits, std::uint8_t* codes) {
  for (int i = 0; i < 32; ++i) {
    codes[i] |= static_cast<std::uint8_t>((bits[i / 8] >> (i % 8) & 1) << 4);
  }
}

void unpack_q4_0(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  scales[0] = half_at(block);
  biases[0] = -8 * scales[0];
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
    float* biases) {
  scales[0] = half_at(block);
  biases[0] = -16 * scales[0];
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
    float* biases) {
  scales[0] = half_at(block);
  biases[0] = -128 * scales[0];
  const std::uint8_t* values = unsigned_bytes(block + 2);
  for (int i = 0; i < kSmallBlock; ++i) {
    codes[i] = values[i] ^ 0x80;  // int8 + 128
  }
}

/// Scales and minima of the 8 groups of a q4_k or q5_k block, 6 bits each.
void unpack_k_scales(const std::byte* block, float* scales, float* biases) {
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

void unpack_q4_k(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  unpack_k_scales(block, scales, biases);
  split_group_nibbles(unsigned_bytes(block + 16), codes);
}

void unpack_q5_k(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  unpack_k_scales(block, scales, biases);
  split_group_nibbles(unsigned_bytes(block + 48), codes);
  const std::uint8_t* fifth = unsigned_bytes(block + 16);
  for (int group = 0; group < 8; ++group) {
    for (int i = 0; i < 32; ++i) {
      codes[32 * group + i] |=
          static_cast<std::uint8_t>((fifth[i] >> group & 1) << 4);
    }
  }
}

}  // namespace

BlockShape block_shape(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return {1, 4};
    case Encoding::f16:
    case Encoding::bf16:
      return {1, 2};
    case Encoding::q4_0:
      return {kSmallBlock, 18};
    case Encoding::q4_1:
      return {kSmallBlock, 20};
    case Encoding::q5_0:
      return {kSmallBlock, 22};
    case Encoding::q5_1:
      return {kSmallBlock, 24};
    case Encoding::q8_0:
      return {kSmallBlock, 34};
    case Encoding::q2_k:
      return {kSuperBlock, 84};
    case Encoding::q3_k:
      return {kSuperBlock, 110};
    case Encoding::q4_k:
      return {kSuperBlock, 144};
    case Encoding::q5_k:
      return {kSuperBlock, 176};
    case Encoding::q6_k:
      return {kSuperBlock, 210};
    case Encoding::mlx_affine:
      break;
  }
  fail<BugError>("block_shape: mlx_affine has no blocks", "", "");
}

UnpackBlock block_unpacker(Encoding encoding) {
  switch (encoding) {
    case Encoding::q4_0:
      return unpack_q4_0;
    case Encoding::q4_1:
      return unpack_q4_1;
    case Encoding::q5_0:
      return unpack_q5_0;
    case Encoding::q5_1:
      return unpack_q5_1;
    case Encoding::q8_0:
      return unpack_q8_0;
    case Encoding::q4_k:
      return unpack_q4_k;
    case Encoding::q5_k:
      return unpack_q5_k;
    default:
      return nullptr;
  }
}

void decode_q2_k(const std::byte* block, float* out) {
  const std::uint8_t* scales = unsigned_bytes(block);
  const std::uint8_t* packed = unsigned_bytes(block + 16);
  const float scale = half_at(block + 80);
  const float minimum = half_at(block + 82);
  for (int group = 0; group < 16; ++group) {
    const float s = scale * static_cast<float>(scales[group] & 15);
    const float m = minimum * static_cast<float>(scales[group] >> 4);
    // 128 values share 32 bytes, two bits each; a group is 16 of the bytes.
    const std::uint8_t* q = packed + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) {
      *out++ = s * static_cast<float>(q[i] >> shift & 3) - m;
    }
  }
}

void decode_q3_k(const std::byte* block, float* out) {
  const std::uint8_t* high = unsigned_bytes(block);
  const std::uint8_t* packed = unsigned_bytes(block + 32);
  const std::uint8_t* scales = unsigned_bytes(block + 96);
  const float scale = half_at(block + 108);
  for (int group = 0; group < 16; ++group) {
    const int low4 = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    const int high2 = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float s = scale * static_cast<float>((low4 | high2 << 4) - 32);
    const std::uint8_t* q = packed + group / 8 * 32 + group % 2 * 16;
    const std::uint8_t* h = high + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) {
      const int third = h[i] >> (group / 2) & 1;
      *out++ = s * static_cast<float>((q[i] >> shift & 3) - (third ? 0 : 4));
    }
  }
}

void decode_q6_k(const std::byte* block, float* out) {
  const std::uint8_t* low = unsigned_bytes(block);
  const std::uint8_t* high = unsigned_bytes(block + 128);
  const std::uint8_t* scales = unsigned_bytes(block + 192);
  const float scale = half_at(block + 208);
  for (int group = 0; group < 16; ++group) {
    const float s =
        scale * static_cast<float>(static_cast<std::int8_t>(scales[group]));
    // Of 128 values the first 64 lie in the low nibbles of 64 bytes, the
    // others in the high ones; two more bits each lie in 32 bytes.
    const int half = group / 8;
    const int quarter = group % 8 / 2;
    const int at = group % 2 * 16;
    const std::uint8_t* l = low + half * 64 + quarter % 2 * 32 + at;
    const std::uint8_t* h = high + half * 32 + at;
    for (int i = 0; i < 16; ++i) {
      const int low4 = quarter < 2 ? l[i] & 15 : l[i] >> 4;
      const int high2 = h[i] >> (quarter * 2) & 3;
      *out++ = s * static_cast<float>((low4 | high2 << 4) - 32);
    }
  }
}

}  // namespace roofline
