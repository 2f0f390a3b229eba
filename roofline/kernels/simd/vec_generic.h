// Four floats in portable code: what kernels use on processors that have no
// file of their own. The same interface as vec_avx2.h and vec_avx512.h.
//
// Types and functions are in an unnamed namespace on purpose: each instruction
// set's file gets its own instantiations, and none can leak into another.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "roofline/kernels/simd/half.h"

namespace roofline {
namespace {

struct Vec {
  static constexpr int kWidth = 4;
  /// Register block of a small matrix product: rows × vectors.
  static constexpr int kTileRows = 4;
  static constexpr int kTileVecs = 2;

  float lane[kWidth];

  static Vec all(float value) { return {{value, value, value, value}}; }
  static Vec load(const float* from) {
    return {{from[0], from[1], from[2], from[3]}};
  }
  /// The first n; the other lanes are zero.
  static Vec load(const float* from, int n) {
    Vec v = all(0.0f);
    for (int i = 0; i < n; ++i) {
      v.lane[i] = from[i];
    }
    return v;
  }
  static Vec load(const Half* from) { return load(from, kWidth); }
  static Vec load(const Half* from, int n) {
    Vec v = all(0.0f);
    for (int i = 0; i < n; ++i) {
      v.lane[i] = f16_to_f32(from[i]);
    }
    return v;
  }
  /// Whole numbers: a byte each.
  static Vec load_bytes(const std::uint8_t* from) {
    Vec v = all(0.0f);
    for (int i = 0; i < kWidth; ++i) {
      v.lane[i] = from[i];
    }
    return v;
  }
  /// Of each byte the low and the high four bits.
  static Vec load_low_halves(const std::uint8_t* from) {
    Vec v = all(0.0f);
    for (int i = 0; i < kWidth; ++i) {
      v.lane[i] = static_cast<float>(from[i] & 15);
    }
    return v;
  }
  static Vec load_high_halves(const std::uint8_t* from) {
    Vec v = all(0.0f);
    for (int i = 0; i < kWidth; ++i) {
      v.lane[i] = static_cast<float>(from[i] >> 4);
    }
    return v;
  }
  void store(float* to) const { store(to, kWidth); }
  void store(float* to, int n) const {
    for (int i = 0; i < n; ++i) {
      to[i] = lane[i];
    }
  }
  void store(Half* to) const { store(to, kWidth); }
  void store(Half* to, int n) const {
    for (int i = 0; i < n; ++i) {
      to[i] = f32_to_f16(lane[i]);
    }
  }
};

template <class F>
inline Vec map(const Vec& a, const Vec& b, F f) {
  return {
      {f(a.lane[0], b.lane[0]),
       f(a.lane[1], b.lane[1]),
       f(a.lane[2], b.lane[2]),
       f(a.lane[3], b.lane[3])}};
}

inline Vec operator+(Vec a, Vec b) {
  return map(a, b, [](float x, float y) { return x + y; });
}
inline Vec operator-(Vec a, Vec b) {
  return map(a, b, [](float x, float y) { return x - y; });
}
inline Vec operator*(Vec a, Vec b) {
  return map(a, b, [](float x, float y) { return x * y; });
}
inline Vec operator/(Vec a, Vec b) {
  return map(a, b, [](float x, float y) { return x / y; });
}
/// a·b + c, in one rounding where the hardware has it.
inline Vec fma(Vec a, Vec b, Vec c) {
  return a * b + c;
}
/// b where either is not a number, as on x86.
inline Vec max(Vec a, Vec b) {
  return map(a, b, [](float x, float y) { return x > y ? x : y; });
}
inline Vec min(Vec a, Vec b) {
  return map(a, b, [](float x, float y) { return x < y ? x : y; });
}
inline Vec round(Vec a) {
  // Adding 1.5·2²³ pushes the fraction out; callers stay below 2²².
  const Vec shift = Vec::all(12582912.0f);
  return (a + shift) - shift;
}
/// 2ⁿ for whole n in [-126, 127].
inline Vec pow2(Vec n) {
  Vec v = n;
  for (float& x : v.lane) {
    x = std::bit_cast<float>((static_cast<std::int32_t>(x) + 127) << 23);
  }
  return v;
}
/// Lane by lane: a < b ? x : y.
inline Vec where_less(Vec a, Vec b, Vec x, Vec y) {
  Vec v = y;
  for (int i = 0; i < Vec::kWidth; ++i) {
    v.lane[i] = a.lane[i] < b.lane[i] ? x.lane[i] : y.lane[i];
  }
  return v;
}
/// Lanes 2i and 2i + 1 change places.
inline Vec swap_pairs(Vec a) {
  return {{a.lane[1], a.lane[0], a.lane[3], a.lane[2]}};
}
inline float sum_of(Vec a) {
  return (a.lane[0] + a.lane[1]) + (a.lane[2] + a.lane[3]);
}
inline float max_of(Vec a) {
  const float x = a.lane[0] > a.lane[1] ? a.lane[0] : a.lane[1];
  const float y = a.lane[2] > a.lane[3] ? a.lane[2] : a.lane[3];
  return x > y ? x : y;
}
/// Lane i of the result is the sum of rows[i]'s lanes.
inline Vec sums_of(const Vec* rows) {
  return {{sum_of(rows[0]), sum_of(rows[1]), sum_of(rows[2]), sum_of(rows[3])}};
}
/// kWidth rows become columns, in place.
inline void transpose(Vec* rows) {
  for (int i = 0; i < Vec::kWidth; ++i) {
    for (int j = 0; j < i; ++j) {
      const float kept = rows[i].lane[j];
      rows[i].lane[j] = rows[j].lane[i];
      rows[j].lane[i] = kept;
    }
  }
}

}  // namespace
}  // namespace roofline
