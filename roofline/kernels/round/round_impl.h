// The loops of round.h, in lanes of a fixed number that every compiler turns
// into the registers of the instruction set that a file is compiled for.
#pragma once

#include <limits>

#include "roofline/kernels/round/round.h"

namespace roofline {
namespace {

constexpr int kRoundLanes = 16;

inline float code_of(float value, float bias, float inverse, float most) {
  // Added and taken away again it rounds small positive floats.
  constexpr float kRound = 0x1p23f;
  const float code = (value - bias) * inverse;
  // Written so that NaN becomes a code as well.
  const float low = code > 0.0f ? code : 0.0f;
  return ((low < most ? low : most) + kRound) - kRound;
}

inline void round_range(const float* values, int n, float& low, float& high) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float lows[kRoundLanes];
  float highs[kRoundLanes];
  for (int lane = 0; lane < kRoundLanes; ++lane) {
    lows[lane] = kInfinity;
    highs[lane] = -kInfinity;
  }
  int i = 0;
  for (; i + kRoundLanes <= n; i += kRoundLanes) {
    for (int lane = 0; lane < kRoundLanes; ++lane) {
      const float value = values[i + lane];
      lows[lane] = value < lows[lane] ? value : lows[lane];
      highs[lane] = value > highs[lane] ? value : highs[lane];
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) {
    lows[lane] = values[i] < lows[lane] ? values[i] : lows[lane];
    highs[lane] = values[i] > highs[lane] ? values[i] : highs[lane];
  }
  low = lows[0];
  high = highs[0];
  for (int lane = 1; lane < kRoundLanes; ++lane) {
    low = lows[lane] < low ? lows[lane] : low;
    high = highs[lane] > high ? highs[lane] : high;
  }
}

inline void round_codes(
    const float* values,
    int n,
    float bias,
    float inverse,
    float most,
    std::uint8_t* out) {
  for (int i = 0; i < n; ++i) {
    out[i] = static_cast<std::uint8_t>(
        static_cast<int>(code_of(values[i], bias, inverse, most)));
  }
}

inline float round_error(
    const float* values,
    const float* importance,
    int n,
    float scale,
    float bias,
    float inverse,
    float most) {
  float sums[kRoundLanes] = {};
  const auto add = [&](int i, int lane) {
    const float code = code_of(values[i], bias, inverse, most);
    const float error = scale * code + bias - values[i];
    sums[lane] += (importance ? importance[i] : 1.0f) * error * error;
  };
  int i = 0;
  for (; i + kRoundLanes <= n; i += kRoundLanes) {
    for (int lane = 0; lane < kRoundLanes; ++lane) {
      add(i + lane, lane);
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) {
    add(i, lane);
  }
  float sum = 0;
  for (const float each : sums) {
    sum += each;
  }
  return sum;
}

constexpr RoundKernels round_kernels_named(const char* name) {
  return {name, round_range, round_codes, round_error};
}

}  // namespace
}  // namespace roofline
