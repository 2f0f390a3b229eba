// Attention for a few rows (decode): keys and values are read straight from
// the cache, converted in registers, and met by all rows while they are there.
// Bound by the bytes of the cache. What is in codes is in few_codes_impl.h.
// Included only by instantiating files, after their code_lanes.
#pragma once

#include "roofline/kernels/attention/few_codes_impl.h"
#include "roofline/kernels/attention/tiles_impl.h"

namespace roofline {

/// A multiply-add starts twice a cycle and takes four: so many sums keep it
/// busy.
constexpr int kLeastSums = 8;

/// Keys, or vectors of values, that ROWS rows meet at a time.
template <class V, int ROWS>
constexpr int met_at_once() {
  int count = V::kTileVecs;
  while (count * ROWS < kLeastSums && count < V::kWidth) {
    count *= 2;
  }
  return count;
}

/// Rows that meet a key or a value at a time: as many as leave their sums in
/// registers. The order in which a row sums up doesn't depend on it.
template <class V>
constexpr int most_met_rows() {
  constexpr int kMost = V::kTileRows * V::kTileVecs / met_at_once<V, 3>();
  return kMost < 4 ? kMost : 4;
}

/// Calls f with the number of rows as a constant, and the first of them: in
/// groups that are as equal as can be.
template <class V, class F>
inline void each_row_group(int rows, F f) {
  constexpr int kMost = most_met_rows<V>();
  int row = 0;
  for (int groups = (rows + kMost - 1) / kMost; groups > 0; --groups) {
    const int count = (rows - row + groups - 1) / groups;
    by_rows<kMost>(count, [&]<int ROWS>(int) {
      f.template operator()<ROWS>(row);
    });
    row += count;
  }
}

/// Keys whose products are added up across lanes together.
template <class V, int ROWS>
constexpr int summed_at_once() {
  constexpr int kKeys = met_at_once<V, ROWS>();
  if constexpr (requires(V * sums) { sums_of_four(sums); }) {
    return kKeys < 4 ? 4 : kKeys;
  }
  return V::kWidth;
}

/// The scores of LOT keys from their products.
template <class V, int LOT>
inline void store_scores(const V* products, float* scores) {
  if constexpr (LOT < V::kWidth) {
    store_four(sums_of_four(products), scores);
  } else {
    sums_of(products).store(scores);
  }
}

/// Products of ROWS rows and KEYS keys, from key k of the tile on: a row's
/// query is read once for all keys, a key once for all rows. WHOLE: dims are
/// whole vectors; beside code for a rest the products don't stay in registers.
template <class V, int ROWS, int KEYS, bool WHOLE, class T>
[[gnu::always_inline]] inline void multiply_keys(
    const AttentionState& s,
    const float* q,
    const PlainTile<T>& keys,
    int k,
    V (*products)[KEYS]) {
  for (int r = 0; r < ROWS; ++r) {
    for (int i = 0; i < KEYS; ++i) {
      products[r][i] = V::all(0.0f);
    }
  }
  const auto add = [&](int d, auto load) {
    V parts[ROWS];
    for (int r = 0; r < ROWS; ++r) {
      parts[r] = V::load(q + r * s.dims + d);
    }
    for (int i = 0; i < KEYS; ++i) {
      const V key = load(keys.row(k + i) + d);
      for (int r = 0; r < ROWS; ++r) {
        products[r][i] = fma(key, parts[r], products[r][i]);
      }
    }
  };
  int d = 0;
  for (; d + V::kWidth <= keys.dims; d += V::kWidth) {
    add(d, [](const T* from) { return V::load(from); });
  }
  if constexpr (!WHOLE) {
    const int left = keys.dims - d;
    add(d, [left](const T* from) { return V::load(from, left); });
  }
}

/// Scores of ROWS rows against `count` <= LOT keys, from key k of a tile on.
template <class V, int ROWS, int KEYS, int LOT, bool WHOLE, class T>
[[gnu::always_inline]] inline void score_keys(
    const AttentionState& s,
    const float* q,
    const PlainTile<T>& keys,
    int k,
    int count,
    float* scores) {
  V lot[ROWS][LOT];
  if constexpr (KEYS == LOT) {
    multiply_keys<V, ROWS, KEYS, WHOLE>(s, q, keys, k, lot);
  } else {
    for (int i = 0; i < LOT; i += KEYS) {
      V products[ROWS][KEYS];
      if (i < count) {
        multiply_keys<V, ROWS, KEYS, WHOLE>(s, q, keys, k + i, products);
      }
      for (int r = 0; r < ROWS; ++r) {
        for (int n = 0; n < KEYS; ++n) {
          lot[r][i + n] = i < count ? products[r][n] : V::all(0.0f);
        }
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    store_scores<V, LOT>(lot[r], scores + r * kKeyTile);
  }
}

/// Scores of ROWS rows from `row` on against the first `count` keys of a tile.
template <class V, int ROWS, bool WHOLE, class T>
[[gnu::noinline]] void score_rows(
    const AttentionState& s,
    int row,
    const PlainTile<T>& keys,
    int count) {
  constexpr int kLot = summed_at_once<V, ROWS>();
  constexpr int kKeys = met_at_once<V, ROWS>();
  const float* q = s.q + static_cast<std::int64_t>(row) * s.dims;
  float* scores = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
  int k = 0;
  for (; k + kLot <= count; k += kLot) {
    ask_ahead(keys.row(k), kLot * keys.row_bytes(), keys.end);
    score_keys<V, ROWS, kKeys, kLot, WHOLE>(s, q, keys, k, kLot, scores + k);
  }
  if (k < count) {
    score_keys<V, ROWS, 1, kLot, WHOLE>(s, q, keys, k, count - k, scores + k);
  }
}

/// sums[row …][d …] += weights · values for VECS vectors of dims. Unrolled by
/// request: gcc would keep sums in memory too.
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
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
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
    V w[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      w[r] = V::all(weights[r * kKeyTile + k]);
    }
#pragma GCC unroll 8
    for (int v = 0; v < VECS; ++v) {
      // Only single vectors reach past the last dim.
      const V part = VECS > 1 ? V::load(value + v * V::kWidth)
                              : load_padded<V>(values, k, d);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        acc[r][v] = fma(w[r], part, acc[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < VECS; ++v) {
      acc[r][v].store(sums + r * s.value_dims + v * V::kWidth);
    }
  }
}

/// The same for dims from d on, VECS vectors at a time as long as there are so
/// many.
template <class V, int ROWS, int VECS, class T>
void add_value_rows(
    const AttentionState& s,
    int row,
    const PlainTile<T>& values,
    int count,
    int d = 0) {
  constexpr int kWide = VECS * V::kWidth;
  for (; d + kWide <= values.dims; d += kWide) {
    add_values<V, ROWS, VECS>(s, row, values, count, d);
  }
  if constexpr (VECS > 1) {
    add_value_rows<V, ROWS, VECS / 2>(s, row, values, count, d);
  } else if (d < values.dims) {
    add_values<V, ROWS, 1>(s, row, values, count, d);
  }
}

template <class V, class T>
void score_tile(const AttentionState& s, const PlainTile<T>& keys, int count) {
  each_row_group<V>(s.rows, [&]<int ROWS>(int row) {
    if (keys.dims % V::kWidth == 0) {
      score_rows<V, ROWS, true>(s, row, keys, count);
    } else {
      score_rows<V, ROWS, false>(s, row, keys, count);
    }
  });
}

template <class V, class T>
void add_value_tile(
    const AttentionState& s,
    const PlainTile<T>& values,
    int count) {
  each_row_group<V>(s.rows, [&]<int ROWS>(int row) {
    add_value_rows<V, ROWS, met_at_once<V, ROWS>()>(s, row, values, count);
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
