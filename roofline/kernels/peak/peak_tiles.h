// Chains of products on tiles only. Included by files compiled for AMX only.
#pragma once

#include "roofline/kernels/peak/peak_variants.h"
#include "roofline/kernels/simd/tiles.h"

namespace roofline {
namespace {

constexpr int kPeakSums = 4;  ///< 16 cycles each: more than the latency of 52

/// One value of the first of four sums.
template <class Tiles>
std::int64_t run_tiles(std::int64_t rounds) {
  alignas(64) std::uint16_t halves[kTileSize / 2];
  for (std::uint16_t& half : halves) {
    half = 0x3d80;  // 1/16: a sum of 32 products grows by 1/8
  }
  Tiles tiles;
  tiles.template zero_sum<0, 0>();
  tiles.template zero_sum<0, 1>();
  tiles.template zero_sum<1, 0>();
  tiles.template zero_sum<1, 1>();
  tiles.template load_left<0>(halves, kTileBytes);
  tiles.template load_left<1>(halves, kTileBytes);
  tiles.template load_right<0>(halves, kTileBytes);
  tiles.template load_right<1>(halves, kTileBytes);
  for (std::int64_t round = 0; round < rounds; ++round) {
    tiles.template add_product<0, 0>();
    tiles.template add_product<0, 1>();
    tiles.template add_product<1, 0>();
    tiles.template add_product<1, 1>();
  }
  alignas(64) float sums[kTileRows * kTileCols];
  tiles.template store_sum<0, 0>(sums, kTileBytes);
  return static_cast<std::int64_t>(sums[0]);
}

template <class Tiles>
constexpr PeakKernel tiles_peak() {
  constexpr std::int64_t kValues =
      std::int64_t{2} * kPeakSums * kTileRows * kTileCols * kTileDepth;
  return {run_tiles<Tiles>, kValues};
}

}  // namespace
}  // namespace roofline
