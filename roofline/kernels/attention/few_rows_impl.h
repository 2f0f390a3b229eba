// Attention for a few rows (decode): keys and values are read straight from
// the cache, converted in registers, and met by all rows while they are there.
// Bound by the bytes of the cache. What is in codes is in few_codes_impl.h.
// Included only by instantiating files, after their code_lanes.
#pragma once

#include "roofline/kernels/attention/few_codes_impl.h"
#include "roofline/kernels/attention/tiles_impl.h"

namespace roofline {

template <class V, int ROWS>
inline void store_scores(V (*products)[V::kWidth], int count, float* scores) {
  for (int r = 0; r < ROWS; ++r) {
    for (int k = count; k < V::kWidth; ++k) {
      products[r][k] = V::all(0.0f);
    }
    sums_of(products[r]).store(scores + r * kKeyTile);
  }
}

/// Products of ROWS rows and KEYS keys, from key k of the tile on, put into
/// products[row][at …]: a row's query is read once for all keys, a key once for
/// all rows.
template <class V, int ROWS, int KEYS, class T>
inline void multiply_keys(
    const AttentionState& s,
    const float* q,
    const PlainTile<T>& keys,
    int k,
    V (*products)[V::kWidth],
    int at) {
  V sums[ROWS][KEYS];
  for (int r = 0; r < ROWS; ++r) {
    for (int i = 0; i < KEYS; ++i) {
      sums[r][i] = V::all(0.0f);
    }
  }
  const auto add = [&](int d, auto load) {
    V parts[KEYS];
    for (int i = 0; i < KEYS; ++i) {
      parts[i] = load(keys.row(k + i) + d);
    }
    for (int r = 0; r < ROWS; ++r) {
      const V part = V::load(q + r * s.dims + d);
      for (int i = 0; i < KEYS; ++i) {
        sums[r][i] = fma(parts[i], part, sums[r][i]);
      }
    }
  };
  for (int i = 0; i < KEYS; ++i) {
    ask_ahead(keys.row(k + i), keys.row_bytes(), keys.end);
  }
  int d = 0;
  for (; d + V::kWidth <= keys.dims; d += V::kWidth) {
    add(d, [](const T* from) { return V::load(from); });
  }
  if (const int left = keys.dims - d; left > 0) {
    add(d, [left](const T* from) { return V::load(from, left); });
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int i = 0; i < KEYS; ++i) {
      products[r][at + i] = sums[r][i];
    }
  }
}

/// Scores of ROWS rows from `row` on against `count` <= V::kWidth keys of a
/// tile, from key `first` on.
template <class V, int ROWS, class Tile>
void score_keys(
    const AttentionState& s,
    int row,
    const Tile& keys,
    int first,
    int count,
    float* scores) {
  constexpr int kKeys = Tile::template keys_at_once<V>();
  V products[ROWS][V::kWidth];
  const float* q = s.q + static_cast<std::int64_t>(row) * s.dims;
  int k = 0;
  for (; k + kKeys <= count; k += kKeys) {
    multiply_keys<V, ROWS, kKeys>(s, q, keys, first + k, products, k);
  }
  for (; k < count; ++k) {
    multiply_keys<V, ROWS, 1>(s, q, keys, first + k, products, k);
  }
  store_scores<V, ROWS>(products, count, scores);
}

/// sums[row …][d …] += weights · values for VECS vectors of dims.
template <class V, int ROWS, int VECS, class T>
void add_values(
    const AttentionState& s,
    int row,
    const PlainTile<T>& values,
    int count,
    int d) {
  V acc[ROWS][VECS];
  float* sums = s.sums + static_cast<std::int64_t>(row) * s.value_dims + d;
  const float* weights = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
  for (int r = 0; r < ROWS; ++r) {
    for (int v = 0; v < VECS; ++v) {
      acc[r][v] = V::load(sums + r * s.value_dims + v * V::kWidth);
    }
  }
  for (int k = 0; k < count; ++k) {
    const T* value = values.row(k) + d;
    ask_ahead(
        value,
        VECS * V::kWidth * static_cast<int>(sizeof(T)),
        values.end);
    V parts[VECS];
    for (int v = 0; v < VECS; ++v) {
      // Only single vectors reach past the last dim.
      parts[v] = VECS > 1 ? V::load(value + v * V::kWidth)
                          : load_padded<V>(values, k, d);
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
      acc[r][v].store(sums + r * s.value_dims + v * V::kWidth);
    }
  }
}

template <class V, int ROWS, class T>
void add_value_rows(
    const AttentionState& s,
    int row,
    const PlainTile<T>& values,
    int count) {
  constexpr int kWide = V::kTileVecs;
  int d = 0;
  for (; d + kWide * V::kWidth <= values.dims; d += kWide * V::kWidth) {
    add_values<V, ROWS, kWide>(s, row, values, count, d);
  }
  for (; d < values.dims; d += V::kWidth) {
    add_values<V, ROWS, 1>(s, row, values, count, d);
  }
}

template <class V, class T>
void score_tile(const AttentionState& s, const PlainTile<T>& keys, int count) {
  by_rows<4>(s.rows, [&]<int ROWS>(int row) {
    float* scores = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
    for (int k = 0; k < count; k += V::kWidth) {
      const int some = count - k < V::kWidth ? count - k : V::kWidth;
      score_keys<V, ROWS>(s, row, keys, k, some, scores + k);
    }
  });
}

template <class V, class T>
void add_value_tile(
    const AttentionState& s,
    const PlainTile<T>& values,
    int count) {
  by_rows<4>(s.rows, [&]<int ROWS>(int row) {
    add_value_rows<V, ROWS>(s, row, values, count);
  });
}

/// Lanes: how codes are read (code_lanes.h).
template <class V, class Lanes>
void few_rows(const AttentionTask& task) {
  AttentionState s = open_state<V>(task);
  load_queries<V>(task, s);
  if (const KvCodes& codes = task.args->kv.key_codes; codes.bits > 0) {
    round_queries<V, Lanes>(s, codes.group);
  }
  const TileSource keys = key_source<V>(task, s);
  const TileSource values = value_source<V>(task, s);
  each_tile<V>(task, [&](int slot, int count, const std::int64_t* positions) {
    with_tile<V>(keys, slot, count, [&](const auto& tile) {
      if constexpr (std::remove_cvref_t<decltype(tile)>::kInCodes) {
        score_codes<V, Lanes>(s, tile, count);
      } else {
        score_tile<V>(s, tile, count);
      }
    });
    softmax_tile<V>(task, s, positions, count);
    with_tile<V>(values, slot, count, [&](const auto& tile) {
      if constexpr (std::remove_cvref_t<decltype(tile)>::kInCodes) {
        add_coded_values<V, Lanes>(s, tile, count);
      } else {
        add_value_tile<V>(s, tile, count);
      }
    });
  });
  finish<V>(task, s);
}

}  // namespace roofline
