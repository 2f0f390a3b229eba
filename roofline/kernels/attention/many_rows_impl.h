// Attention for many rows (prefill): a tile of keys and values is converted to
// float32 once, then two small matrix products, register-blocked, meet all rows
// of the tile of queries. Bound by multiply-adds. Included only by
// instantiating files.
#pragma once

#include "roofline/kernels/attention/attention_impl.h"

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

/// A tile of keys, wherever they lie.
template <class T>
struct KeyTile {
  int count = 0;
  std::int64_t positions[kKeyTile];
  const T* keys[kKeyTile];
  const T* values[kKeyTile];
};

/// Reads successive keys of a task's runs, tile after tile. V keeps each
/// instruction set's copy apart.
template <class V, class T>
class KeyReader {
 public:
  explicit KeyReader(const AttentionTask& task) : task_(task) {
    const KvView& kv = task.args->kv;
    head_ = static_cast<std::int64_t>(task.kv_head) * kv.slots;
  }
  bool next(KeyTile<T>& tile) {
    const KvView& kv = task_.args->kv;
    tile.count = 0;
    while (tile.count < kKeyTile && run_ < task_.run_count) {
      const KeyRun& run = task_.runs[run_];
      if (inside_ == run.count) {
        ++run_;
        inside_ = 0;
        continue;
      }
      const std::int64_t at = (head_ + run.slot + inside_) * kv.head_dim;
      tile.positions[tile.count] = run.position + inside_;
      tile.keys[tile.count] = static_cast<const T*>(kv.keys) + at;
      tile.values[tile.count] = static_cast<const T*>(kv.values) + at;
      ++tile.count;
      ++inside_;
    }
    return tile.count > 0;
  }

 private:
  const AttentionTask& task_;
  std::int64_t head_ = 0;
  int run_ = 0;
  int inside_ = 0;
};

template <class V, class T>
inline V load_padded(const T* row, int d, int dims) {
  const int left = dims - d;
  if (left >= V::kWidth) {
    return V::load(row + d);
  }
  return left > 0 ? V::load(row + d, left) : V::all(0.0f);
}

/// Keys turned to [dims, kKeyTile]; columns past the last key are zero up to
/// the next vector.
template <class V, class T>
void convert_keys(const KeyTile<T>& tile, int head_dim, AttentionState& s) {
  for (int k = 0; k < tile.count; k += V::kWidth) {
    for (int d = 0; d < s.dims; d += V::kWidth) {
      V block[V::kWidth];
      for (int i = 0; i < V::kWidth; ++i) {
        block[i] = k + i < tile.count
                       ? load_padded<V>(tile.keys[k + i], d, head_dim)
                       : V::all(0.0f);
      }
      transpose(block);
      for (int i = 0; i < V::kWidth; ++i) {
        block[i].store(
            s.keys + static_cast<std::int64_t>(d + i) * kKeyTile + k);
      }
    }
  }
}

template <class V, class T>
void convert_values(const KeyTile<T>& tile, int head_dim, AttentionState& s) {
  for (int k = 0; k < tile.count; ++k) {
    float* to = s.values + static_cast<std::int64_t>(k) * s.dims;
    for (int d = 0; d < s.dims; d += V::kWidth) {
      load_padded<V>(tile.values[k], d, head_dim).store(to + d);
    }
  }
}

template <class V, class T>
void many_rows_of(const AttentionTask& task) {
  AttentionState s = open_state<V>(task);
  load_queries<V>(task, s);
  const int head_dim = task.args->kv.head_dim;
  KeyTile<T> tile;
  KeyReader<V, T> reader(task);
  while (reader.next(tile)) {
    const int columns = (tile.count + V::kWidth - 1) / V::kWidth * V::kWidth;
    convert_keys<V>(tile, head_dim, s);
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
    softmax_tile<V>(task, s, tile.positions, tile.count);
    convert_values<V>(tile, head_dim, s);
    product<V>(
        s.scores,
        kKeyTile,
        s.values,
        s.dims,
        tile.count,
        s.sums,
        s.dims,
        s.rows,
        s.dims,
        true);
  }
  finish<V>(task, s);
}

template <class V>
void many_rows(const AttentionTask& task) {
  if (task.args->kv.type == KvType::f16) {
    many_rows_of<V, Half>(task);
  } else {
    many_rows_of<V, float>(task);
  }
}

}  // namespace roofline
