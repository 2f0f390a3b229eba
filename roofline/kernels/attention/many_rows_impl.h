// Attention for many rows (prefill): a tile of keys and values is converted to
// float32 once, then two small matrix products, register-blocked, meet all rows
// of the tile of queries. Bound by multiply-adds. Included only by
// instantiating files.
#pragma once

#include "roofline/kernels/attention/tiles_impl.h"

namespace roofline {

/// c[ROWS, VECS vectors] (+)= a[ROWS, depth] · b[depth, VECS vectors].
template <class V, int ROWS, int VECS>
void tile_product(
    const float* a,
    int lda,
    const float* b,
    int ldb,
    int depth,
    float* c,
    int ldc,
    bool accumulate) {
  V acc[ROWS][VECS];
  for (int r = 0; r < ROWS; ++r) {
    for (int v = 0; v < VECS; ++v) {
      acc[r][v] =
          accumulate ? V::load(c + r * ldc + v * V::kWidth) : V::all(0.0f);
    }
  }
  for (int k = 0; k < depth; ++k) {
    V row[VECS];
    for (int v = 0; v < VECS; ++v) {
      row[v] = V::load(b + static_cast<std::int64_t>(k) * ldb + v * V::kWidth);
    }
    for (int r = 0; r < ROWS; ++r) {
      const V factor = V::all(a[r * lda + k]);
      for (int v = 0; v < VECS; ++v) {
        acc[r][v] = fma(factor, row[v], acc[r][v]);
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int v = 0; v < VECS; ++v) {
      acc[r][v].store(c + r * ldc + v * V::kWidth);
    }
  }
}

template <class V, int ROWS>
void product_rows(
    const float* a,
    int lda,
    const float* b,
    int ldb,
    int depth,
    float* c,
    int ldc,
    int columns,
    bool accumulate) {
  constexpr int kWide = V::kTileVecs * V::kWidth;
  int n = 0;
  for (; n + kWide <= columns; n += kWide) {
    tile_product<V, ROWS, V::kTileVecs>(
        a,
        lda,
        b + n,
        ldb,
        depth,
        c + n,
        ldc,
        accumulate);
  }
  for (; n < columns; n += V::kWidth) {
    tile_product<V, ROWS, 1>(a, lda, b + n, ldb, depth, c + n, ldc, accumulate);
  }
}

/// c[rows, columns] (+)= a[rows, depth] · b[depth, columns]; columns is a
/// multiple of V::kWidth.
template <class V>
void product(
    const float* a,
    int lda,
    const float* b,
    int ldb,
    int depth,
    float* c,
    int ldc,
    int rows,
    int columns,
    bool accumulate) {
  constexpr int kRows = V::kTileRows;
  int r = 0;
  for (; r + kRows <= rows; r += kRows) {
    product_rows<V, kRows>(
        a + r * lda,
        lda,
        b,
        ldb,
        depth,
        c + r * ldc,
        ldc,
        columns,
        accumulate);
  }
  for (; r + 2 <= rows; r += 2) {
    product_rows<V, 2>(
        a + r * lda,
        lda,
        b,
        ldb,
        depth,
        c + r * ldc,
        ldc,
        columns,
        accumulate);
  }
  for (; r < rows; ++r) {
    product_rows<V, 1>(
        a + r * lda,
        lda,
        b,
        ldb,
        depth,
        c + r * ldc,
        ldc,
        columns,
        accumulate);
  }
}

/// Keys turned to [dims, kKeyTile]; columns past the last key are zero up to
/// the next vector.
template <class V, class Tile>
void convert_keys(const Tile& tile, int count, const AttentionState& s) {
  for (int k = 0; k < count; ++k) {
    ask_ahead(tile.row(k), tile.row_bytes());
  }
  for (int k = 0; k < count; k += V::kWidth) {
    for (int d = 0; d < s.dims; d += V::kWidth) {
      V block[V::kWidth];
      for (int i = 0; i < V::kWidth; ++i) {
        block[i] =
            k + i < count ? load_padded<V>(tile, k + i, d) : V::all(0.0f);
      }
      transpose(block);
      for (int i = 0; i < V::kWidth; ++i) {
        block[i].store(
            s.keys + static_cast<std::int64_t>(d + i) * kKeyTile + k);
      }
    }
  }
}

template <class V, class Tile>
void convert_values(const Tile& tile, int count, const AttentionState& s) {
  for (int k = 0; k < count; ++k) {
    ask_ahead(tile.row(k), tile.row_bytes());
    float* to = s.values + static_cast<std::int64_t>(k) * s.value_dims;
    for (int d = 0; d < s.value_dims; d += V::kWidth) {
      load_padded<V>(tile, k, d).store(to + d);
    }
  }
}

template <class V>
void many_rows(const AttentionTask& task) {
  AttentionState s = open_state<V>(task);
  load_queries<V>(task, s);
  const TileSource keys = key_source<V>(task, s);
  const TileSource values = value_source<V>(task, s);
  const int head_dim = task.args->kv.head_dim;
  each_tile<V>(task, [&](int slot, int count, const std::int64_t* positions) {
    const int columns = (count + V::kWidth - 1) / V::kWidth * V::kWidth;
    with_tile<V>(keys, slot, count, [&](const auto& tile) {
      convert_keys<V>(tile, count, s);
    });
    product<V>(
        s.q,
        s.dims,
        s.keys,
        kKeyTile,
        head_dim,
        s.scores,
        kKeyTile,
        s.rows,
        columns,
        false);
    softmax_tile<V>(task, s, positions, count);
    with_tile<V>(values, slot, count, [&](const auto& tile) {
      convert_values<V>(tile, count, s);
    });
    product<V>(
        s.scores,
        kKeyTile,
        s.values,
        s.value_dims,
        count,
        s.sums,
        s.value_dims,
        s.rows,
        s.value_dims,
        true);
  });
  finish<V>(task, s);
}

}  // namespace roofline
