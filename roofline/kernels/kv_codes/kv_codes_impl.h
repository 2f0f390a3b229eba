// Writing codes, over the vector type of an instruction set. Included only by
// the files that instantiate it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roofline/kernels/kv_codes/kv_codes.h"

namespace roofline {
namespace {

/// To f16 and back, as the instruction set does it.
template <class V>
inline float half_value(std::uint16_t half) {
  float value = 0;
  V::load(&half, 1).store(&value, 1);
  return value;
}

template <class V>
inline std::uint16_t nearest_half(float x) {
  std::uint16_t half = 0;
  V::all(x).store(&half, 1);
  return half;
}

/// The least f16 that isn't below x ≥ 0.
template <class V>
inline std::uint16_t half_above(float x) {
  const auto half = nearest_half<V>(x);
  return half_value<V>(half) < x ? half + 1 : half;
}

/// The largest f16 that isn't above x.
template <class V>
inline std::uint16_t half_below(float x) {
  constexpr std::uint16_t kSign = 0x8000;
  const auto half = nearest_half<V>(x);
  if (!(half_value<V>(half) > x)) {
    return half;
  }
  if (half == 0) {
    return kSign + 1;
  }
  return (half & kSign) != 0 ? half + 1 : half - 1;
}

struct KvRange {
  float low = 0;
  float high = 0;
};

template <class V>
KvRange range_of(const float* x, int n) {
  KvRange range{x[0], x[0]};
  int i = 0;
  if (n >= V::kWidth) {
    V low = V::load(x);
    V high = low;
    for (i = V::kWidth; i + V::kWidth <= n; i += V::kWidth) {
      low = min(low, V::load(x + i));
      high = max(high, V::load(x + i));
    }
    range = {-max_of(V::all(0.0f) - low), max_of(high)};
  }
  for (; i < n; ++i) {
    range.low = x[i] < range.low ? x[i] : range.low;
    range.high = x[i] > range.high ? x[i] : range.high;
  }
  return range;
}

/// Whole codes as floats in `to`, zero from n to `group`.
template <class V>
void round_codes(
    const float* x,
    int n,
    int group,
    float bias,
    float factor,
    float top,
    float* to) {
  const V b = V::all(bias);
  const V f = V::all(factor);
  for (int i = 0; i < group; i += V::kWidth) {
    V code = V::all(0.0f);
    if (i < n) {
      const V part =
          n - i >= V::kWidth ? V::load(x + i) : V::load(x + i, n - i);
      code = round((part - b) * f);
    }
    min(max(code, V::all(0.0f)), V::all(top)).store(to + i);
  }
  for (int i = n; i < group; ++i) {
    to[i] = 0;
  }
}

inline void pack_bytes(const float* codes, int group, std::uint8_t* to) {
  for (int i = 0; i < group; ++i) {
    to[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(codes[i]));
  }
}

inline void pack_nibbles(const float* codes, int group, std::uint8_t* to) {
  constexpr int kHalf = kKvBlock / 2;
  for (int block = 0; block < group; block += kKvBlock) {
    for (int i = 0; i < kHalf; ++i) {
      const auto low = static_cast<std::int32_t>(codes[block + i]);
      const auto high = static_cast<std::int32_t>(codes[block + kHalf + i]);
      to[block / 2 + i] = static_cast<std::uint8_t>(low | high << 4);
    }
  }
}

template <class V>
void encode_row(const float* x, const KvCodes& to, int head, int slot) {
  constexpr int kMostGroup = 128;
  float codes[kMostGroup];
  const float top = static_cast<float>((1 << to.bits) - 1);
  const int groups = to.groups();
  std::uint8_t* row =
      to.codes +
      (static_cast<std::ptrdiff_t>(head) * to.slots + slot) * to.row_bytes();
  std::ptrdiff_t at =
      static_cast<std::ptrdiff_t>(head) * groups * to.slots + slot;
  for (int g = 0; g < groups; ++g) {
    const float* part = x + g * to.group;
    const int left = to.dims - g * to.group;
    const int n = left < to.group ? left : to.group;
    const KvRange range = range_of<V>(part, n);
    const std::uint16_t bias = half_below<V>(range.low);
    const float b = half_value<V>(bias);
    const std::uint16_t scale = half_above<V>((range.high - b) / top);
    const float s = half_value<V>(scale);
    to.scales[at] = scale;
    to.biases[at] = bias;
    at += to.slots;
    round_codes<V>(part, n, to.group, b, s > 0 ? 1 / s : 0.0f, top, codes);
    std::uint8_t* out = row + g * to.group * to.bits / 8;
    if (to.bits == 8) {
      pack_bytes(codes, to.group, out);
    } else {
      pack_nibbles(codes, to.group, out);
    }
  }
}

}  // namespace
}  // namespace roofline
