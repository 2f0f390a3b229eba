// The instruction sets' own tables, for qmm.cpp only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/qmm/qmm.h"

namespace roofline {

const QmmKernels& qmm_generic();
const QmmKernels& qmm_avx2();
const QmmKernels& qmm_avx512();
const QmmKernels& qmm_neon();
const QmmKernels& qmm_i8mm();

/// A table with an entry for each quantized format, at its format_index().
/// make: a lambda with the format as its template's argument.
template <class Make>
constexpr auto by_format(Make make) {
  return std::array{
      make.template operator()<PackedFormat::q4>(),
      make.template operator()<PackedFormat::q8>(),
      make.template operator()<PackedFormat::q4_table>(),
      make.template operator()<PackedFormat::q4_16>(),
      make.template operator()<PackedFormat::q8_16>()};
}

/// Groups below this magnitude are taken for zero: kMostCode / absmax would
/// overflow.
constexpr float kZeroGroup = 1e-30f;

/// Keeps the sums of a group's two halves, in codes.
/// Static: each instruction set has its own.
[[maybe_unused]] static inline void store_sums(
    const QuantizedRows& q,
    std::size_t group,
    std::int32_t first,
    std::int32_t second) {
  const float scale = q.scales[group];
  q.code_sums[group] = first + second;
  q.sums[group] = scale * static_cast<float>(first + second);
  if (q.half_sums != nullptr) {
    q.half_sums[2 * group] = scale * static_cast<float>(first);
    q.half_sums[2 * group + 1] = scale * static_cast<float>(second);
  }
}

/// Groups [begin, end) of x by what quantizes one: (x, codes, scale, sums of
/// the codes of each half). Static as above.
template <auto kQuantizeGroup>
static void quantize_group_range(
    const float* x,
    std::size_t begin,
    std::size_t end,
    const QuantizedRows& q) {
  for (std::size_t g = begin; g < end; ++g) {
    std::array<std::int32_t, 2> sums;
    kQuantizeGroup(
        x + g * kGroup,
        q.codes + g * kPlanes * kGroup,
        q.scales[g],
        sums);
    store_sums(q, g, sums[0], sums[1]);
  }
}

/// QmmKernels::quantize from what quantizes one group. Static as above.
template <auto kQuantizeGroup>
static void quantize_groups(
    const float* x,
    int token_begin,
    int token_end,
    const QuantizedRows& q) {
  const auto groups = static_cast<std::size_t>(q.cols / kGroup);
  quantize_group_range<kQuantizeGroup>(
      x,
      static_cast<std::size_t>(token_begin) * groups,
      static_cast<std::size_t>(token_end) * groups,
      q);
}

/// Calls f(begin, end) for the fewest ranges of tokens, as even as may be, none
/// of which has more than `room`. Static as above.
template <class F>
static void each_token_chunk(int token_begin, int token_end, int room, F f) {
  const int tokens = token_end - token_begin;
  const int chunks = (tokens + room - 1) / room;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    f(token_begin + tokens * chunk / chunks,
      token_begin + tokens * (chunk + 1) / chunks);
  }
}

}  // namespace roofline
