// Packed matrices of arbitrary bits for benches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "roofline/base/half.h"
#include "roofline/kernels/packed_matrix.h"

namespace roofline::bench {

/// Gives every unit of a matrix in `memory` small scales (and biases): random
/// bits are no scales, and infinities would say nothing of speed.
inline void tame_scales(const PackedMatrix& matrix, std::byte* memory) {
  const std::uint16_t half = f32_to_f16(0.01f);
  const auto bytes = static_cast<std::size_t>(matrix.unit_scales());
  for (int block = 0; block < matrix.row_blocks(); ++block) {
    const BlockGroups groups = matrix.block_groups(block);
    for (int g = 0; g < matrix.groups(); ++g) {
      std::byte* at = memory + (groups.unit(g) - memory);
      for (std::size_t i = 0; i < bytes; i += sizeof(half)) {
        std::memcpy(at + i, &half, sizeof(half));
      }
    }
  }
}

/// Gives a matrix in `memory` codes from all of 0…most.
inline void spread_codes(
    const PackedMatrix& matrix,
    std::byte* memory,
    int most) {
  std::uint32_t state = 1;
  for (int block = 0; block < matrix.row_blocks(); ++block) {
    const BlockGroups groups = matrix.block_groups(block);
    for (int g = 0; g < matrix.groups(); ++g) {
      std::byte* at = memory + (groups.codes(g) - memory);
      for (int i = 0; i < groups.code_bytes; ++i) {
        state = state * 1664525u + 1013904223u;
        at[i] = static_cast<std::byte>(
            (state >> 16) % static_cast<std::uint32_t>(most + 1));
      }
    }
  }
}

}  // namespace roofline::bench
