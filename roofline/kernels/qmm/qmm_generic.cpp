// The portable variant and the reference that the others are tested against.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#include "roofline/base/half.h"
#include "roofline/kernels/qmm/qmm_variants.h"
#include "roofline/kernels/qmm/trim_rows.h"

namespace roofline {

namespace {

using RowFloats = std::array<float, kRowBlock>;
using RowInts = std::array<std::int32_t, kRowBlock>;

/// One group of one row block, unpacked: values[c][r]. A group with one set of
/// scales has it twice.
struct Group {
  std::array<std::array<std::uint8_t, kRowBlock>, kGroup> values;
  std::array<RowFloats, 2> scales;
  std::array<RowFloats, 2> biases;
};

constexpr std::size_t kHalfGroup = kGroup / 2;

Group unpack(const PackedMatrix& w, const BlockGroups& groups, int index) {
  const std::byte* from = groups.codes(index);
  const bool nibbles = has_nibbles(w.format);
  Group group;
  for (int c = 0; c < kGroup; ++c) {
    const std::byte* line = from + 64 * (nibbles ? c / 8 : c / 4) + c % 4;
    auto& values = group.values[static_cast<std::size_t>(c)];
    for (int r = 0; r < kRowBlock; ++r) {
      const auto byte = static_cast<unsigned>(line[4 * r]);
      const unsigned code = !nibbles    ? byte
                            : c % 8 < 4 ? byte & 15u
                                        : byte >> 4;
      values[static_cast<std::size_t>(r)] =
          has_table(w.format) ? w.table[code] : static_cast<std::uint8_t>(code);
    }
  }
  for (std::size_t half = 0; half < 2; ++half) {
    const int set = scale_sets(w.format) == 1 ? 0 : static_cast<int>(half);
    std::array<std::uint16_t, 2 * kRowBlock> halves{};
    std::memcpy(
        halves.data(),
        groups.scales(index, set),
        static_cast<std::size_t>(groups.set_bytes));
    for (std::size_t r = 0; r < kRowBlock; ++r) {
      const float scale = f16_to_f32(halves[r]);
      group.scales[half][r] = scale;
      group.biases[half][r] = groups.biases ? f16_to_f32(halves[kRowBlock + r])
                                            : scale * groups.minus_offset;
    }
  }
  return group;
}

float largest_magnitude(const float* x) {
  // Compared as integers, a NaN is the largest: it isn't lost.
  std::uint32_t most = 0;
  for (int c = 0; c < kGroup; ++c) {
    most = std::max(most, std::bit_cast<std::uint32_t>(x[c]) & 0x7fffffffu);
  }
  return std::bit_cast<float>(most);
}

/// sums: of the first and the second half, before scaling.
void quantize_group(
    const float* x,
    std::int8_t* codes,
    float& scale,
    std::array<std::int32_t, 2>& sums) {
  sums = {0, 0};
  const float most = largest_magnitude(x);
  if (most < kZeroGroup) {
    std::memset(codes, 0, kPlanes * kGroup);
    scale = 0;
    return;
  }
  // Adding and taking away 1.5·2²³ rounds to the nearest integer, ties to even.
  constexpr float kRound = 12582912.0f;
  const float inverse = kMostCode / most;
  for (int c = 0; c < kGroup; ++c) {
    const float rounded = (x[c] * inverse + kRound) - kRound;
    // Also false for NaN, which has no integer; the scale carries it on.
    const bool sane = rounded >= -kMostCode && rounded <= kMostCode;
    const int code = sane ? static_cast<int>(rounded) : 0;
    const int high = (code + kHighUnit / 2) >> 7;
    codes[c] = static_cast<std::int8_t>(high);
    codes[kGroup + c] = static_cast<std::int8_t>(code - kHighUnit * high);
    sums[c < kGroup / 2 ? 0 : 1] += code;
  }
  scale = most / kMostCode;
}

void store(const PackedMatrix& w, int block, const RowFloats& sums, float* y) {
  const int first = block * kRowBlock;
  const int rows = std::min(kRowBlock, w.rows - first);
  for (int r = 0; r < rows; ++r) {
    y[first + r] = w.unit * sums[static_cast<std::size_t>(r)];
  }
}

void add_fast(
    const Group& group,
    const std::int8_t* x,
    float scale,
    std::array<float, 2> sums,
    RowFloats& y) {
  for (std::size_t half = 0; half < 2; ++half) {
    RowInts dots{};
    const std::size_t first = half * kHalfGroup;
    for (std::size_t c = first; c < first + kHalfGroup; ++c) {
      const std::int32_t code = kHighUnit * x[c] + x[kGroup + c];
      for (std::size_t r = 0; r < kRowBlock; ++r) {
        dots[r] += code * std::int32_t{group.values[c][r]};
      }
    }
    for (std::size_t r = 0; r < kRowBlock; ++r) {
      y[r] += group.scales[half][r] * scale * static_cast<float>(dots[r]) +
              group.biases[half][r] * sums[half];
    }
  }
}

void add_exact(const Group& group, const float* x, RowFloats& y) {
  for (std::size_t c = 0; c < kGroup; ++c) {
    const std::size_t half = c / kHalfGroup;
    for (std::size_t r = 0; r < kRowBlock; ++r) {
      const auto value = static_cast<float>(group.values[c][r]);
      y[r] += (group.scales[half][r] * value + group.biases[half][r]) * x[c];
    }
  }
}

/// Calls add(group of w, index of it in x, sums) over a tile of tokens, so that
/// a group is unpacked once for all of them.
template <class Add>
void product(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    int token_begin,
    int token_end,
    float* y,
    int ldy,
    const Add& add) {
  constexpr int kTokens = 16;
  const int groups = w.groups();
  for (int block = block_begin; block < block_end; ++block) {
    for (int first = token_begin; first < token_end; first += kTokens) {
      const int tokens = std::min(kTokens, token_end - first);
      std::array<RowFloats, kTokens> sums{};
      const BlockGroups own = w.block_groups(block);
      for (int g = 0; g < groups; ++g) {
        const Group group = unpack(w, own, g);
        for (int t = 0; t < tokens; ++t) {
          const auto at = static_cast<std::size_t>(first + t) *
                              static_cast<std::size_t>(groups) +
                          static_cast<std::size_t>(g);
          add(group, at, sums[static_cast<std::size_t>(t)]);
        }
      }
      for (int t = 0; t < tokens; ++t) {
        store(
            w,
            block,
            sums[static_cast<std::size_t>(t)],
            y + static_cast<std::ptrdiff_t>(first + t) * ldy);
      }
    }
  }
}

void fast(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const QuantizedRows& x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const auto add = [&](const Group& group, std::size_t at, RowFloats& sums) {
    const std::int8_t* codes = x.codes + at * kPlanes * kGroup;
    // One bias for the whole group: its sum counts once.
    const std::array<float, 2> own =
        scale_sets(w.format) == 1
            ? std::array{x.sums[at], 0.0f}
            : std::array{x.half_sums[2 * at], x.half_sums[2 * at + 1]};
    add_fast(group, codes, x.scales[at], own, sums);
  };
  product(w, block_begin, block_end, token_begin, token_end, y, ldy, add);
}

void exact(
    const PackedMatrix& w,
    int block_begin,
    int block_end,
    const float* x,
    int token_begin,
    int token_end,
    float* y,
    int ldy) {
  const auto add = [&](const Group& group, std::size_t at, RowFloats& sums) {
    add_exact(group, x + at * kGroup, sums);
  };
  product(w, block_begin, block_end, token_begin, token_end, y, ldy, add);
}

}  // namespace

const QmmKernels& qmm_generic() {
  static constexpr QmmKernels kKernels{
      "generic",
      quantize_groups<quantize_group>,
      fast,
      exact,
      trim_rows<PortableGroups>};
  return kKernels;
}

}  // namespace roofline
