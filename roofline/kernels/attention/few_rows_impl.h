// Attention for a few rows (decode): keys and values are read straight from
// the cache, converted in registers, and met by all rows while they are there.
// Bound by the bytes of the cache. Included only by instantiating files.
#pragma once

#include "roofline/kernels/attention/attention_impl.h"

namespace roofline {

template <class V, class T>
inline V load_dims(const T* row, int d, int dims) {
  return dims - d >= V::kWidth ? V::load(row + d) : V::load(row + d, dims - d);
}

/// Asks for what lies a few kilobytes after a row of the cache: rows are read
/// one after the other, but the hardware's own prefetch keeps too few lines
/// under way and stops at each page.
template <class V, class T>
inline void ask_ahead(const T* row, int dims) {
  constexpr int kAhead = 8192;
  const int bytes = dims * static_cast<int>(sizeof(T));
  for (int line = 0; line < bytes; line += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(row) + kAhead + line);
  }
}

/// Scores of ROWS rows from `row` on against `count` <= V::kWidth keys.
template <class V, int ROWS, class T>
void score_keys(
    const AttentionState& s,
    int row,
    const T* keys,
    int head_dim,
    int count,
    float* scores) {
  V products[ROWS][V::kWidth];
  const float* q = s.q + static_cast<std::int64_t>(row) * s.dims;
  for (int k = 0; k < count; ++k) {
    const T* key = keys + static_cast<std::int64_t>(k) * head_dim;
    ask_ahead<V>(key, head_dim);
    V sums[ROWS];
    for (int r = 0; r < ROWS; ++r) {
      sums[r] = V::all(0.0f);
    }
    for (int d = 0; d < head_dim; d += V::kWidth) {
      const V part = load_dims<V>(key, d, head_dim);
      for (int r = 0; r < ROWS; ++r) {
        sums[r] = fma(part, V::load(q + r * s.dims + d), sums[r]);
      }
    }
    for (int r = 0; r < ROWS; ++r) {
      products[r][k] = sums[r];
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int k = count; k < V::kWidth; ++k) {
      products[r][k] = V::all(0.0f);
    }
    sums_of(products[r]).store(scores + r * kKeyTile);
  }
}

/// sums[row …][d …] += weights · values for VECS vectors of dims.
template <class V, int ROWS, int VECS, class T>
void add_values(
    const AttentionState& s,
    int row,
    const T* values,
    int head_dim,
    int count,
    int d) {
  V acc[ROWS][VECS];
  float* sums = s.sums + static_cast<std::int64_t>(row) * s.dims + d;
  const float* weights = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
  for (int r = 0; r < ROWS; ++r) {
    for (int v = 0; v < VECS; ++v) {
      acc[r][v] = V::load(sums + r * s.dims + v * V::kWidth);
    }
  }
  for (int k = 0; k < count; ++k) {
    const T* value = values + static_cast<std::int64_t>(k) * head_dim + d;
    ask_ahead<V>(value, VECS * V::kWidth);
    V parts[VECS];
    for (int v = 0; v < VECS; ++v) {
      // Only single vectors reach past the last dim.
      parts[v] = VECS > 1 ? V::load(value + v * V::kWidth)
                          : load_dims<V>(value - d, d, head_dim);
    }
    for (int r = 0; r < ROWS; ++r) {
      const V w = V::all(weights[r * kKeyTile + k]);
      for (int v = 0; v < VECS; ++v) {
        acc[r][v] = fma(w, parts[v], acc[r][v]);
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int v = 0; v < VECS; ++v) {
      acc[r][v].store(sums + r * s.dims + v * V::kWidth);
    }
  }
}

template <class V, int ROWS, class T>
void score_tile(
    const AttentionState& s,
    int row,
    const T* keys,
    int head_dim,
    int count) {
  for (int k = 0; k < count; k += V::kWidth) {
    const int some = count - k < V::kWidth ? count - k : V::kWidth;
    score_keys<V, ROWS>(
        s,
        row,
        keys + static_cast<std::int64_t>(k) * head_dim,
        head_dim,
        some,
        s.scores + static_cast<std::int64_t>(row) * kKeyTile + k);
  }
}

template <class V, int ROWS, class T>
void add_value_tile(
    const AttentionState& s,
    int row,
    const T* values,
    int head_dim,
    int count) {
  constexpr int kWide = V::kTileVecs;
  int d = 0;
  for (; d + kWide * V::kWidth <= head_dim; d += kWide * V::kWidth) {
    add_values<V, ROWS, kWide>(s, row, values, head_dim, count, d);
  }
  for (; d < head_dim; d += V::kWidth) {
    add_values<V, ROWS, 1>(s, row, values, head_dim, count, d);
  }
}

/// Calls f with the number of rows as a constant, and the first of them.
template <class F>
inline void by_fours(int rows, F f) {
  int row = 0;
  for (; row + 4 <= rows; row += 4) {
    f.template operator()<4>(row);
  }
  switch (rows - row) {
    case 3:
      return f.template operator()<3>(row);
    case 2:
      return f.template operator()<2>(row);
    case 1:
      return f.template operator()<1>(row);
    default:
      return;
  }
}

template <class V, class T>
void few_rows_of(const AttentionTask& task) {
  const AttentionState s = open_state<V>(task);
  load_queries<V>(task, s);
  const KvView& kv = task.args->kv;
  const std::int64_t head_dim = kv.head_dim;
  const std::int64_t head = static_cast<std::int64_t>(task.kv_head) * kv.slots;
  std::int64_t positions[kKeyTile];
  for (int i = 0; i < task.run_count; ++i) {
    const KeyRun& run = task.runs[i];
    for (int begin = 0; begin < run.count; begin += kKeyTile) {
      const int left = run.count - begin;
      const int count = left < kKeyTile ? left : kKeyTile;
      const std::int64_t at = (head + run.slot + begin) * head_dim;
      const T* keys = static_cast<const T*>(kv.keys) + at;
      const T* values = static_cast<const T*>(kv.values) + at;
      for (int k = 0; k < count; ++k) {
        positions[k] = run.position + begin + k;
      }
      by_fours(s.rows, [&]<int ROWS>(int row) {
        score_tile<V, ROWS>(s, row, keys, kv.head_dim, count);
      });
      softmax_tile<V>(task, s, positions, count);
      by_fours(s.rows, [&]<int ROWS>(int row) {
        add_value_tile<V, ROWS>(s, row, values, kv.head_dim, count);
      });
    }
  }
  finish<V>(task, s);
}

template <class V>
void few_rows(const AttentionTask& task) {
  if (task.args->kv.type == KvType::f16) {
    few_rows_of<V, Half>(task);
  } else {
    few_rows_of<V, float>(task);
  }
}

}  // namespace roofline
