#include "roofline/decode/vector_math.h"

#include <algorithm>
#include <limits>

namespace roofline {

namespace {

// Independent lanes: enough to hide the latency of a comparison or an addition
// at the baseline's four floats a register.
constexpr std::size_t kLanes = 16;
// Floats summed in float before the sum moves to double; keeps the error of a
// sum over a large vocabulary at that of a few hundred terms.
constexpr std::size_t kBlock = 1024;

bool is_invalid(float value) {
  const auto bits = std::bit_cast<std::int32_t>(value);
  constexpr std::int32_t kInfinity = 0x7f800000;
  // NaN with the sign set lies above −inf's pattern; −inf itself is allowed.
  const auto magnitude = bits & 0x7fffffff;
  return (bits >= kInfinity) | (magnitude > kInfinity);
}

std::span<const float> block_at(
    std::span<const float> values,
    std::size_t start) {
  return values.subspan(start, std::min(kBlock, values.size() - start));
}

double block_exp_sum(std::span<const float> block, float max) {
  float weights[kBlock];
  for (std::size_t i = 0; i < block.size(); ++i) {
    weights[i] = exp_nonpositive(block[i] - max);
  }
  std::fill(weights + block.size(), weights + kBlock, 0.0f);
  float lanes[kLanes] = {};
  for (std::size_t i = 0; i < kBlock; i += kLanes) {
    for (std::size_t l = 0; l < kLanes; ++l) {
      lanes[l] += weights[i + l];
    }
  }
  double total = 0;
  for (const float lane : lanes) {
    total += lane;
  }
  return total;
}

}  // namespace

float max_of(std::span<const float> values) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t l = 0; l < kLanes; ++l) {
      const float value = values[i + l];
      lanes[l] = value > lanes[l] ? value : lanes[l];
    }
  }
  for (; i < values.size(); ++i) {
    lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
  }
  return *std::max_element(lanes, lanes + kLanes);
}

std::size_t argmax_of(std::span<const float> values) {
  const float best = max_of(values);
  return static_cast<std::size_t>(
      std::find(values.begin(), values.end(), best) - values.begin());
}

std::size_t first_invalid(std::span<const float> values) {
  std::int32_t any = 0;
  for (const float value : values) {
    any |= static_cast<std::int32_t>(is_invalid(value));
  }
  if (any == 0) {
    return values.size();
  }
  return static_cast<std::size_t>(
      std::find_if(values.begin(), values.end(), is_invalid) - values.begin());
}

double exp_sum(std::span<const float> values, float max) {
  double total = 0;
  for (std::size_t start = 0; start < values.size(); start += kBlock) {
    total += block_exp_sum(block_at(values, start), max);
  }
  return total;
}

}  // namespace roofline
