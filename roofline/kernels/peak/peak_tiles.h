// Chains of products on tiles only. Included by files compiled for AMX only.
#pragma once

#include <cstring>

#include "roofline/kernels/peak/peak_variants.h"
#include "roofline/kernels/simd/tiles.h"

namespace roofline {
namespace {

constexpr int kPeakSums = 4;  ///< 16 cycles each: more than the latency of 52

/// The four sums of a round, and one value of the first.
template <class Tiles, class T>
std::int64_t run_tiles(std::int64_t rounds, const void* ones) {
  Tiles tiles;
  tiles.template zero_sum<0, 0>();
  tiles.template zero_sum<0, 1>();
  tiles.template zero_sum<1, 0>();
  tiles.template zero_sum<1, 1>();
  tiles.template load_left<0>(ones, kTileBytes);
  tiles.template load_left<1>(ones, kTileBytes);
  tiles.template load_right<0>(ones, kTileBytes);
  tiles.template load_right<1>(ones, kTileBytes);
  for (std::int64_t round = 0; round < rounds; ++round) {
    if constexpr (std::is_same_v<T, float>) {
      tiles.template add_product<0, 0>();
      tiles.template add_product<0, 1>();
      tiles.template add_product<1, 0>();
      tiles.template add_product<1, 1>();
    } else {
      tiles.template add_bytes<0, 0>();
      tiles.template add_bytes<0, 1>();
      tiles.template add_bytes<1, 0>();
      tiles.template add_bytes<1, 1>();
    }
  }
  alignas(64) float sums[kTileRows * kTileCols];
  tiles.template store_sum<0, 0>(sums, kTileBytes);
  T first{};
  std::memcpy(&first, sums, sizeof(first));
  return static_cast<std::int64_t>(first);
}

template <class Tiles>
std::int64_t run_int8(std::int64_t rounds) {
  alignas(64) std::uint8_t ones[kTileSize];
  std::memset(ones, 1, sizeof(ones));
  return run_tiles<Tiles, std::int32_t>(rounds, ones);
}

template <class Tiles>
std::int64_t run_bfloat16(std::int64_t rounds) {
  alignas(64) std::uint16_t halves[kTileSize / 2];
  for (std::uint16_t& half : halves) {
    half = 0x3d80;  // 1/16: a sum of 32 products grows by 1/8
  }
  return run_tiles<Tiles, float>(rounds, halves);
}

template <class Tiles>
PeakKernel tiles_peak(PeakKind kind) {
  constexpr std::int64_t kValues =
      std::int64_t{2} * kPeakSums * kTileRows * kTileCols * kTileDepth;
  return kind == PeakKind::int8 ? PeakKernel{run_int8<Tiles>, 2 * kValues}
                                : PeakKernel{run_bfloat16<Tiles>, kValues};
}

}  // namespace
}  // namespace roofline
