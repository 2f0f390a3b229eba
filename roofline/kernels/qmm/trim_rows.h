// QmmKernels::trim, in portable loops that an instruction set compiles for
// itself, or with functions of its own: included by its file.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

namespace {

/// A float's bits count 2^23 an octave: their mean is the geometric mean, with
/// straight lines between the powers of two.
constexpr float kOctaveBits = 8388608.0f;
/// Columns that a bit of QuantizedRows::high is for.
constexpr int kHighCols = 4;

/// 2^octaves times the geometric mean of the scales that aren't zero.
inline float largest_scale(
    const float* scales,
    std::size_t groups,
    float octaves) {
  std::int64_t sum = 0;
  std::int64_t count = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    const auto bits = std::bit_cast<std::int32_t>(scales[g]);
    sum += bits;
    count += bits != 0 ? 1 : 0;
  }
  const std::int64_t most = (count > 0 ? sum / count : 0) +
                            static_cast<std::int64_t>(octaves * kOctaveBits);
  return std::bit_cast<float>(static_cast<std::int32_t>(most));
}

/// What trim_rows() does to a group.
struct PortableGroups {
  /// Σ codes of a group's two halves.
  static void sum_codes(
      const QuantizedRows& q,
      std::size_t group,
      const std::int8_t* codes) {
    std::int32_t sums[2] = {0, 0};
    for (int half = 0; half < 2; ++half) {
      for (int c = half * kGroup / 2; c < (half + 1) * kGroup / 2; ++c) {
        sums[half] += kHighUnit * codes[c] + codes[kGroup + c];
      }
    }
    store_sums(q, group, sums[0], sums[1]);
  }

  /// All of a group's codes rounded to 8 bits, which become the low ones.
  static void keep_one_plane(const QuantizedRows& q, std::size_t group) {
    std::int8_t* codes = q.codes + group * kPlanes * kGroup;
    std::memcpy(codes + kGroup, codes, kGroup);
    std::memset(codes, 0, kGroup);
    q.scales[group] *= kHighUnit;
    q.high[group] = 0;
    sum_codes(q, group, codes);
  }

  /// A group's codes in another unit, high codes only where four columns need
  /// them.
  static void keep_outliers(
      const QuantizedRows& q,
      std::size_t group,
      float unit) {
    std::int8_t* codes = q.codes + group * kPlanes * kGroup;
    const float ratio = q.scales[group] / unit;
    std::int32_t values[kGroup];
    for (int c = 0; c < kGroup; ++c) {
      const std::int32_t code = kHighUnit * codes[c] + codes[kGroup + c];
      // Adding and taking away 1.5·2²³ rounds to the nearest integer.
      constexpr float kRound = 12582912.0f;
      values[c] = static_cast<std::int32_t>(
          (static_cast<float>(code) * ratio + kRound) - kRound);
    }
    unsigned high = 0;
    for (int i = 0; i < kGroup / kHighCols; ++i) {
      const std::int32_t* four = values + kHighCols * i;
      int most = 0;
      for (int c = 0; c < kHighCols; ++c) {
        most = std::max(most, std::abs(four[c]));
      }
      high |= (most > kHighUnit - 1 ? 1u : 0u) << i;
    }
    for (int c = 0; c < kGroup; ++c) {
      const bool two = (high >> (c / kHighCols) & 1u) != 0;
      const std::int32_t part = two ? (values[c] + kHighUnit / 2) >> 7 : 0;
      codes[c] = static_cast<std::int8_t>(part);
      codes[kGroup + c] =
          static_cast<std::int8_t>(values[c] - kHighUnit * part);
    }
    q.scales[group] = unit;
    q.high[group] = static_cast<std::uint8_t>(high);
    sum_codes(q, group, codes);
  }
};

template <class Groups>
void trim_rows(
    const QuantizedRows& q,
    int token_begin,
    int token_end,
    float octaves) {
  const auto groups = static_cast<std::size_t>(q.cols / kGroup);
  for (int t = token_begin; t < token_end; ++t) {
    const std::size_t row = static_cast<std::size_t>(t) * groups;
    const float most = largest_scale(q.scales + row, groups, octaves);
    const float unit = most * kHighUnit;
    for (std::size_t g = row; g < row + groups; ++g) {
      const float scale = q.scales[g];
      if (scale <= most) {
        Groups::keep_one_plane(q, g);
      } else if (scale < unit) {
        Groups::keep_outliers(q, g, unit);
      } else {
        // Its unit is larger already, or there is a NaN.
        q.high[g] = 0xff;
      }
    }
  }
}

}  // namespace

}  // namespace roofline
