// The portable variant and the reference that the others are tested against.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#include "roofline/base/half.h"
#include "roofline/kernels/qmm/qmm_variants.h"

namespace roofline {

namespace {

using RowFloats = std::array<float, kRowBlock>;
using RowInts = std::array<std::int32_t, kRowBlock>;

/// One group of one row block, unpacked: codes[c][r].
struct Group {
  std::array<std::array<std::uint8_t, kRowBlock>, kGroup> codes;
  RowFloats scales;
  RowFloats biases;
};

Group unpack(const std::byte* from, PackedFormat format) {
  const bool q4 = format == PackedFormat::q4;
  Group group;
  for (int c = 0; c < kGroup; ++c) {
    const std::byte* line = from + 64 * (q4 ? c / 8 : c / 4) + c % 4;
    auto& codes = group.codes[static_cast<std::size_t>(c)];
    for (int r = 0; r < kRowBlock; ++r) {
      const auto byte = static_cast<unsigned>(line[4 * r]);
      const unsigned code = !q4 ? byte : c % 8 < 4 ? byte & 15u : byte >> 4;
      codes[static_cast<std::size_t>(r)] = static_cast<std::uint8_t>(code);
    }
  }
  std::array<std::uint16_t, 2 * kRowBlock> halves;
  std::memcpy(halves.data(), from + (q4 ? kQ4Codes : kQ8Codes), sizeof(halves));
  for (std::size_t r = 0; r < kRowBlock; ++r) {
    group.scales[r] = f16_to_f32(halves[r]);
    group.biases[r] = f16_to_f32(halves[kRowBlock + r]);
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

void quantize_group(
    const float* x,
    std::int8_t* codes,
    float& scale,
    float& sum) {
  const float most = largest_magnitude(x);
  if (most < kZeroGroup) {
    std::memset(codes, 0, kPlanes * kGroup);
    scale = 0;
    sum = 0;
    return;
  }
  // Adding and taking away 1.5·2²³ rounds to the nearest integer, ties to even.
  constexpr float kRound = 12582912.0f;
  const float inverse = kMostCode / most;
  std::int32_t total = 0;
  for (int c = 0; c < kGroup; ++c) {
    const float rounded = (x[c] * inverse + kRound) - kRound;
    // Also false for NaN, which has no integer; the scale carries it on.
    const bool sane = rounded >= -kMostCode && rounded <= kMostCode;
    const int code = sane ? static_cast<int>(rounded) : 0;
    const int high = (code + kHighUnit / 2) >> 7;
    codes[c] = static_cast<std::int8_t>(high);
    codes[kGroup + c] = static_cast<std::int8_t>(code - kHighUnit * high);
    total += code;
  }
  scale = most / kMostCode;
  sum = scale * static_cast<float>(total);
}

void quantize(
    const float* x,
    int token_begin,
    int token_end,
    const QuantizedRows& q) {
  const std::size_t groups = static_cast<std::size_t>(q.cols / kGroup);
  const auto begin = static_cast<std::size_t>(token_begin) * groups;
  const auto end = static_cast<std::size_t>(token_end) * groups;
  for (std::size_t g = begin; g < end; ++g) {
    quantize_group(
        x + g * kGroup,
        q.codes + g * kPlanes * kGroup,
        q.scales[g],
        q.sums[g]);
  }
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
    float sum,
    RowFloats& y) {
  RowInts dots{};
  for (std::size_t c = 0; c < kGroup; ++c) {
    const std::int32_t code = kHighUnit * x[c] + x[kGroup + c];
    for (std::size_t r = 0; r < kRowBlock; ++r) {
      dots[r] += code * std::int32_t{group.codes[c][r]};
    }
  }
  for (std::size_t r = 0; r < kRowBlock; ++r) {
    y[r] += group.scales[r] * scale * static_cast<float>(dots[r]) +
            group.biases[r] * sum;
  }
}

void add_exact(const Group& group, const float* x, RowFloats& y) {
  for (std::size_t c = 0; c < kGroup; ++c) {
    for (std::size_t r = 0; r < kRowBlock; ++r) {
      const auto code = static_cast<float>(group.codes[c][r]);
      y[r] += (group.scales[r] * code + group.biases[r]) * x[c];
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
      const std::byte* stream = w.block(block);
      for (int g = 0; g < groups; ++g, stream += w.group_bytes()) {
        const Group group = unpack(stream, w.format);
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
    add_fast(group, codes, x.scales[at], x.sums[at], sums);
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
  static constexpr QmmKernels kKernels{"generic", quantize, fast, exact};
  return kKernels;
}

}  // namespace roofline
