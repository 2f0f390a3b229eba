// What attention on tiles holds: the rows of a task in scratch, and a block of
// keys and values as right sides of tiles. Included by files compiled for AMX
// only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/attention/bf16_parts.h"
#include "roofline/kernels/simd/bf16_pairs.h"
#include "roofline/kernels/simd/tiles.h"

namespace roofline {
namespace {

constexpr int kTileFloats = kTileSize / 4;
constexpr int kPairRows = 2 * kTileRows;
constexpr int kBlockTiles = kTiledKeys / kTileCols;

/// The rows of a task in scratch.
struct TileRowsState {
  int rows = 0;                   ///< that there are
  int tiles = 0;                  ///< of 16 rows, an even number
  int dims = 0;                   ///< a multiple of 32
  float* sums = nullptr;          ///< [tiles, dims / 16, 16, 16]
  float* scores = nullptr;        ///< [2, kBlockTiles, 16, 16]
  std::uint32_t* q = nullptr;     ///< [tiles, dims / 32, 16, 16]: pairs, times
                                  ///< scale·log2(e)
  std::uint32_t* keys = nullptr;  ///< [kBlockTiles, dims / 32, 16, 16]
  std::uint32_t* values = nullptr;  ///< [kBlockTiles / 2, dims / 16, 16, 16]
  float* largest = nullptr;         ///< [tiles, 16], of scores times log2(e)
  float* total = nullptr;           ///< [tiles, 16]
  Half* copy = nullptr;             ///< [kTiledKeys, dims]: of codes, if any

  std::ptrdiff_t sums_tile() const { return std::ptrdiff_t{16} * dims; }
  std::ptrdiff_t q_tile() const { return std::ptrdiff_t{8} * dims; }
};

inline TileRowsState open_tile_rows(const AttentionTask& task) {
  TileRowsState s;
  s.rows = task.rows();
  s.tiles = (s.rows + kPairRows - 1) / kPairRows * 2;
  s.dims = task.args->kv.head_dim;
  const auto dims = static_cast<std::size_t>(s.dims);
  const std::size_t rows = std::size_t{kTileRows} * s.tiles;
  constexpr std::size_t kLine = 64;
  auto at = reinterpret_cast<std::uintptr_t>(task.scratch);
  float* next = task.scratch + (kLine - at % kLine) % kLine / sizeof(float);
  const auto take = [&](std::size_t count) {
    float* from = next;
    next += count;
    return from;
  };
  s.sums = take(rows * dims);
  s.scores = take(std::size_t{2} * kBlockTiles * kTileFloats);
  s.q = reinterpret_cast<std::uint32_t*>(take(rows * dims / 2));
  s.keys = reinterpret_cast<std::uint32_t*>(take(kTiledKeys * dims / 2));
  s.values = reinterpret_cast<std::uint32_t*>(take(kTiledKeys * dims / 2));
  s.largest = take(rows);
  s.total = take(rows);
  if (task.args->kv.any_codes()) {
    s.copy = reinterpret_cast<Half*>(take(kTiledKeys * dims / 2));
  }
  return s;
}

inline void load_queries(const AttentionTask& task, const TileRowsState& s) {
  const __m512 factor = _mm512_set1_ps(task.args->scale * kLog2E);
  for (int r = 0; r < s.tiles * kTileRows; ++r) {
    std::uint32_t* q =
        s.q + r / kTileRows * s.q_tile() + r % kTileRows * kTileCols;
    for (int d = 0; d < s.dims; d += kTileDepth, q += kTileFloats) {
      __m512i pairs = _mm512_setzero_si512();
      if (r < s.rows) {
        const float* from =
            row_at(task, task.args->q, task.args->q_stride, r) + d;
        pairs = rounded_pairs(
            _mm512_mul_ps(_mm512_loadu_ps(from), factor),
            _mm512_mul_ps(_mm512_loadu_ps(from + 16), factor));
      }
      _mm512_store_si512(q, pairs);
    }
  }
  std::fill_n(s.sums, s.tiles * s.sums_tile(), 0.0f);
  std::fill_n(s.largest, s.tiles * kTileRows, kMinusInfinity);
  std::fill_n(s.total, s.tiles * kTileRows, 0.0f);
}

using TiledBlock = KeyBlock<kTiledKeys>;

/// In steps of the depth: as tiles read them.
inline int steps_of(const TiledBlock& block) {
  return (block.count + kTileDepth - 1) / kTileDepth;
}

/// Keys past the last are the last one again.
inline void convert_keys(
    const TiledBlock& block,
    const Half* keys,
    const TileRowsState& s) {
  std::uint32_t* to = s.keys;
  for (int k = 0; k < steps_of(block) * kTileDepth; k += kTileCols) {
    for (int d = 0; d < s.dims; d += kTileDepth, to += kTileFloats) {
      Vec lines[kTileCols];
      for (int i = 0; i < kTileCols; ++i) {
        const Half* from = keys + block.row(k + i) + d;
        lines[i].v = _mm512_castsi512_ps(
            rounded_pairs(Vec::load(from).v, Vec::load(from + 16).v));
      }
      transpose(lines);
      for (int i = 0; i < kTileCols; ++i) {
        _mm512_store_ps(to + i * kTileCols, lines[i].v);
      }
    }
  }
}

/// Values past the last are zero: what they meet is zero too.
inline void convert_values(
    const TiledBlock& block,
    const Half* values,
    const TileRowsState& s) {
  const auto load = [&](int key, int d) {
    return key < block.count ? Vec::load(values + block.at[key] + d).v
                             : _mm512_setzero_ps();
  };
  std::uint32_t* to = s.values;
  for (int k = 0; k < steps_of(block) * kTileDepth; k += kTileDepth) {
    for (int d = 0; d < s.dims; d += kTileCols) {
      for (int i = 0; i < kTileRows; ++i, to += kTileCols) {
        const int key = k + 2 * i;
        _mm512_store_si512(to, pairs_of(load(key, d), load(key + 1, d)));
      }
    }
  }
}

}  // namespace
}  // namespace roofline
