// I-types: groups of 4 or 8 magnitudes come from a table of allowed
// combinations (a grid), signs apart. A code is the magnitude's place and the
// sign.
#include <bit>
#include <cstring>

#include "roofline/weights/blocks.h"
#include "roofline/weights/float16.h"
#include "roofline/weights/iq_grids.h"

namespace roofline::blocks {

namespace {

std::uint32_t u32_at(const std::byte* bytes) {
  std::uint32_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

std::uint32_t byte_at(const std::byte* bytes) {
  return static_cast<std::uint32_t>(*bytes);
}

/// The eighth sign makes the number of minuses even.
std::uint32_t eight_signs(std::uint32_t seven) {
  return seven | (static_cast<std::uint32_t>(std::popcount(seven)) & 1) << 7;
}

/// Eight places of two bits each.
void put_eight(std::uint8_t*& codes, std::uint32_t grid, std::uint32_t signs) {
  for (int i = 0; i < 8; ++i) {
    const std::uint32_t sign = signs >> i & 1;
    *codes++ = static_cast<std::uint8_t>((grid >> (2 * i) & 3) | sign << 2);
  }
}

/// Four places of three bits, a nibble each.
void put_four(std::uint8_t*& codes, std::uint32_t grid, std::uint32_t signs) {
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t sign = signs >> i & 1;
    *codes++ = static_cast<std::uint8_t>((grid >> (4 * i) & 7) | sign << 3);
  }
}

/// d·(1/2 + s)/4, s a nibble.
float quarter_scale(float d, std::uint32_t s) {
  return d * (0.5f + static_cast<float>(s)) * 0.25f;
}

}  // namespace

// ±8, ±25, ±43, plus 64.
const CodeTable kIq2Table =
    {72, 89, 107, 64, 56, 39, 21, 64, 64, 64, 64, 64, 64, 64, 64, 64};
// ±4, 12, 20, 28, 36, 44, 52, 62, plus 64.
const CodeTable kIq3XxsTable =
    {68, 76, 84, 92, 100, 108, 116, 126, 60, 52, 44, 36, 28, 20, 12, 2};
// -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
// plus 128.
const CodeTable kIq4Table =
    {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
// 8·(-1, 0, 1) + 1 and 8·(-1, 0, 1) - 1, plus 16.
const CodeTable kIq1MTable =
    {9, 17, 25, 16, 7, 15, 23, 16, 16, 16, 16, 16, 16, 16, 16, 16};

void unpack_iq2_xxs(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const float d = half_at(block);
  for (int group = 0; group < 8; ++group) {
    const std::byte* at = block + 2 + 8 * group;
    const std::uint32_t signs = u32_at(at + 4);
    scales[group] = quarter_scale(d, signs >> 28);
    for (int i = 0; i < 4; ++i) {
      put_eight(
          codes,
          kIq2XxsGrid[byte_at(at + i)],
          eight_signs(signs >> (7 * i) & 127));
    }
  }
}

void unpack_iq2_xs(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const float d = half_at(block);
  for (int group = 0; group < 16; ++group) {
    const std::uint32_t s = byte_at(block + 66 + group / 2);
    scales[group] = quarter_scale(d, s >> (group % 2 * 4) & 15);
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t q = load_u16(block + 2 + 4 * group + 2 * i);
      put_eight(codes, kIq2XsGrid[q & 511], eight_signs(q >> 9));
    }
  }
}

void unpack_iq2_s(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const float d = half_at(block);
  for (int group = 0; group < 16; ++group) {
    const std::uint32_t s = byte_at(block + 74 + group / 2);
    scales[group] = quarter_scale(d, s >> (group % 2 * 4) & 15);
  }
  for (int i = 0; i < 32; ++i) {
    const std::uint32_t high = byte_at(block + 66 + i / 4) >> (i % 4 * 2) & 3;
    put_eight(
        codes,
        kIq2SGrid[byte_at(block + 2 + i) | high << 8],
        byte_at(block + 34 + i));
  }
}

void unpack_iq3_xxs(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const float d = half_at(block);
  for (int group = 0; group < 8; ++group) {
    const std::uint32_t word = u32_at(block + 66 + 4 * group);
    scales[group] = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t signs = eight_signs(word >> (i / 2 * 7) & 127);
      put_four(
          codes,
          kIq3XxsGrid[byte_at(block + 2 + 8 * group + i)],
          signs >> (i % 2 * 4));
    }
  }
}

/// The magnitudes 1, 3, … 15 with their signs are 2·code − 15.
void unpack_iq3_s(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  const float d = half_at(block);
  for (int group = 0; group < 8; ++group) {
    const std::uint32_t s = byte_at(block + 106 + group / 2);
    const float unit =
        d * static_cast<float>(1 + 2 * (s >> (group % 2 * 4) & 15));
    scales[group] = 2 * unit;
    biases[group] = -15 * unit;
  }
  std::uint8_t* const first = codes;
  for (int i = 0; i < 64; ++i) {
    const std::uint32_t high = byte_at(block + 66 + i / 8) >> (i % 8) & 1;
    const std::uint32_t signs = byte_at(block + 74 + i / 2) >> (i % 2 * 4);
    put_four(codes, kIq3SGrid[byte_at(block + 2 + i) | high << 8], signs);
  }
  for (std::uint8_t* code = first; code != codes; ++code) {
    *code = static_cast<std::uint8_t>(*code < 8 ? 8 + *code : 15 - *code);
  }
}

/// d·(2s + 1)·(−1, 0 or 1, ± 1/8), the shift one for each 32 values.
void unpack_iq1_s(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float* biases) {
  const float d = half_at(block);
  for (int group = 0; group < 8; ++group) {
    const std::uint32_t q = load_u16(block + 34 + 2 * group);
    const float scale = d * static_cast<float>(2 * (q >> 12 & 7) + 1);
    scales[group] = scale;
    biases[group] = scale * (q & 0x8000 ? -1.125f : -0.875f);
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t low = byte_at(block + 2 + 4 * group + i);
      put_eight(codes, kIq1SGrid[low | (q >> (3 * i) & 7) << 8], 0);
    }
  }
}

/// As iq1_s with a shift for each 8 values, which takes the sign's place in a
/// code. The half float is spread over the four words of scales.
void unpack_iq1_m(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  std::array<std::uint32_t, 4> words;
  std::uint32_t half = 0;
  for (std::uint32_t i = 0; i < 4; ++i) {
    words[i] = load_u16(block + 48 + 2 * i);
    half |= words[i] >> 12 << (4 * i);
  }
  const float d = f16_to_float(static_cast<std::uint16_t>(half));
  for (std::size_t group = 0; group < 16; ++group) {
    const std::uint32_t s = words[group / 4] >> (group % 4 * 3) & 7;
    scales[group] = d * static_cast<float>(2 * s + 1) * 0.125f;
  }
  for (int i = 0; i < 32; ++i) {
    const std::uint32_t q = byte_at(block + 32 + i / 2) >> (i % 2 * 4) & 15;
    put_eight(
        codes,
        kIq1SGrid[byte_at(block + i) | (q & 7) << 8],
        q & 8 ? 255 : 0);
  }
}

void unpack_iq4_nl(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  scales[0] = half_at(block);
  split_nibbles(unsigned_bytes(block + 2), codes);
}

void unpack_iq4_xs(
    const std::byte* block,
    std::uint8_t* codes,
    float* scales,
    float*) {
  const float d = half_at(block);
  const std::uint32_t high = load_u16(block + 2);
  for (int group = 0; group < 8; ++group) {
    const std::uint32_t low =
        byte_at(block + 4 + group / 2) >> (group % 2 * 4) & 15;
    const std::uint32_t s = low | (high >> (2 * group) & 3) << 4;
    scales[group] = d * static_cast<float>(static_cast<int>(s) - 32);
    split_nibbles(unsigned_bytes(block + 8 + 16 * group), codes + 32 * group);
  }
}

}  // namespace roofline::blocks
