#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "roofline/kernels/qmm/qmm.h"
#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

namespace {

constexpr int kHalfGroup = kGroup / 2;

/// A float's bits count 2^23 an octave: their mean is the geometric mean, with
/// straight lines between the powers of two.
constexpr float kOctaveBits = 8388608.0f;

std::int64_t bits_of(float scale) {
  return std::bit_cast<std::int32_t>(scale);
}

/// The mean of the bits of the scales that aren't zero.
std::int64_t mean_bits(const float* scales, std::size_t groups) {
  std::int64_t sum = 0;
  std::int64_t count = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::int64_t bits = bits_of(scales[g]);
    sum += bits;
    count += bits != 0 ? 1 : 0;
  }
  return count > 0 ? sum / count : 0;
}

/// Σ of 16 codes; eight bytes at a time, each made unsigned by adding 128.
std::int32_t sum_half(const std::int8_t* codes) {
  constexpr std::uint64_t kSigns = 0x8080808080808080;
  constexpr std::uint64_t kEven = 0x00ff00ff00ff00ff;
  constexpr std::uint64_t kOnes = 0x0001000100010001;
  std::uint64_t pairs = 0;
  for (int i = 0; i < kHalfGroup; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, codes + i, sizeof(word));
    word ^= kSigns;
    pairs += (word & kEven) + ((word >> 8) & kEven);
  }
  return static_cast<std::int32_t>((pairs * kOnes) >> 48) - 128 * kHalfGroup;
}

}  // namespace

void trim_low(
    const QuantizedRows& q,
    int token_begin,
    int token_end,
    float octaves) {
  const auto groups = static_cast<std::size_t>(q.cols / kGroup);
  const auto above = static_cast<std::int64_t>(octaves * kOctaveBits);
  for (int t = token_begin; t < token_end; ++t) {
    const std::size_t row = static_cast<std::size_t>(t) * groups;
    const std::int64_t most = mean_bits(q.scales + row, groups) + above;
    for (std::size_t g = row; g < row + groups; ++g) {
      const bool keeps = bits_of(q.scales[g]) > most;
      q.low[g] = keeps ? 1 : 0;
      if (!keeps) {
        std::int8_t* codes = q.codes + g * kPlanes * kGroup;
        std::memset(codes + kGroup, 0, kGroup);
        store_sums(
            q,
            g,
            kHighUnit * sum_half(codes),
            kHighUnit * sum_half(codes + kHalfGroup));
      }
    }
  }
}

}  // namespace roofline
