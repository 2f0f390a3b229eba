// Attention for a few rows (decode): keys and values are read straight from
// the cache, converted in registers, and met by all rows while they are there.
// Bound by the bytes of the cache. Included only by instantiating files.
#pragma once

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
    ask_ahead(keys.row(k + i), keys.row_bytes());
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

/// Products of ROWS rows and KEYS keys in codes, from key k of the tile on, put
/// into products[row][at …]. A key's values are made in registers, once for all
/// rows, and a row's query is read once for all keys.
template <class V, int ROWS, int KEYS, int BITS>
inline void multiply_keys(
    const AttentionState& s,
    const float* q,
    const CodeTile<BITS>& keys,
    int k,
    V (*products)[V::kWidth],
    int at) {
  V sums[ROWS][KEYS];
  for (int r = 0; r < ROWS; ++r) {
    for (int i = 0; i < KEYS; ++i) {
      sums[r][i] = V::all(0.0f);
    }
  }
  for (int i = 0; i < KEYS; ++i) {
    ask_ahead(keys.row(k + i), keys.row_bytes());
  }
  int d = 0;
  for (int g = 0; g < keys.groups; ++g) {
    V scale[KEYS], bias[KEYS];
    for (int i = 0; i < KEYS; ++i) {
      scale[i] = V::all(keys.scales[g * kKeyTile + k + i]);
      bias[i] = V::all(keys.biases[g * kKeyTile + k + i]);
    }
    for (const int end = d + keys.group; d < end; d += kKvBlock) {
      for (int in = 0; in < kKvBlock; in += V::kWidth) {
        V parts[KEYS];
        for (int i = 0; i < KEYS; ++i) {
          const auto* block = block_of<BITS>(keys.row(k + i), d);
          parts[i] = fma(load_codes<V, BITS>(block, in), scale[i], bias[i]);
        }
        for (int r = 0; r < ROWS; ++r) {
          const V part = V::load(q + r * s.dims + d + in);
          for (int i = 0; i < KEYS; ++i) {
            sums[r][i] = fma(parts[i], part, sums[r][i]);
          }
        }
      }
    }
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
    ask_ahead(value, VECS * V::kWidth * static_cast<int>(sizeof(T)));
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
void add_value_tile(
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

/// A row's weights met by one group of values in codes: Σ w·(s·c + b) is
/// Σ (w·s)·c + Σ w·b, so that scales and biases cost nothing for each dim.
template <class V, int ROWS>
struct GroupWeights {
  float scaled[ROWS][kKeyTile];  ///< w·s, zero past the last
  float bias[ROWS];              ///< Σ w·b

  template <int BITS>
  GroupWeights(
      const AttentionState& s,
      int row,
      const CodeTile<BITS>& values,
      int group,
      int count) {
    const float* scales = values.scales + group * kKeyTile;
    const float* biases = values.biases + group * kKeyTile;
    for (int r = 0; r < ROWS; ++r) {
      const float* weights =
          s.scores + static_cast<std::int64_t>(row + r) * kKeyTile;
      V sum = V::all(0.0f);
      int k = 0;
      for (; k + V::kWidth <= count; k += V::kWidth) {
        const V w = V::load(weights + k);
        (w * V::load(scales + k)).store(scaled[r] + k);
        sum = fma(w, V::load(biases + k), sum);
      }
      bias[r] = sum_of(sum);
      for (; k < count; ++k) {
        scaled[r][k] = weights[k] * scales[k];
        bias[r] += weights[k] * biases[k];
      }
    }
  }
};

/// Calls f<0>, f<STEP>, … up to the end of a block.
template <int STEP, int AT = 0, class F>
inline void each_part(F f) {
  if constexpr (AT < kKvBlock) {
    f.template operator()<AT>();
    each_part<STEP, AT + STEP>(f);
  }
}

/// sums[row …][d …] += weights · values for VECS vectors of one group, of which
/// the first begins AT dims into its block.
template <class V, int ROWS, int VECS, int AT, int BITS>
void add_codes(
    const AttentionState& s,
    int row,
    const CodeTile<BITS>& values,
    const GroupWeights<V, ROWS>& weights,
    int count,
    int d) {
  V acc[ROWS][VECS];
  float* sums = s.sums + static_cast<std::int64_t>(row) * s.value_dims + d;
  for (int r = 0; r < ROWS; ++r) {
    for (int v = 0; v < VECS; ++v) {
      acc[r][v] = V::load(sums + r * s.value_dims + v * V::kWidth) +
                  V::all(weights.bias[r]);
    }
  }
  for (int k = 0; k < count; ++k) {
    const std::uint8_t* block = block_of<BITS>(values.row(k), d - AT);
    V parts[VECS];
    for (int v = 0; v < VECS; ++v) {
      const int at = AT + v * V::kWidth;
      parts[v] = load_codes<V, BITS>(
          block_of<BITS>(block, at / kKvBlock * kKvBlock),
          at % kKvBlock);
    }
    for (int r = 0; r < ROWS; ++r) {
      const V w = V::all(weights.scaled[r][k]);
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

template <class V, int ROWS, int BITS>
void add_value_tile(
    const AttentionState& s,
    int row,
    const CodeTile<BITS>& values,
    int count) {
  constexpr int kWide = V::kTileVecs * V::kWidth;
  static_assert(kKvBlock % V::kWidth == 0);
  int d = 0;
  for (int g = 0; g < values.groups; ++g) {
    const GroupWeights<V, ROWS> weights(s, row, values, g, count);
    const int end = (g + 1) * values.group;
    const auto add = [&]<int VECS, int AT>() {
      add_codes<V, ROWS, VECS, AT>(s, row, values, weights, count, d);
      d += VECS * V::kWidth;
    };
    while (d < end) {
      if constexpr (kWide >= kKvBlock) {
        if (kWide > kKvBlock && end - d >= kWide) {
          add.template operator()<V::kTileVecs, 0>();
        } else {
          add.template operator()<kKvBlock / V::kWidth, 0>();
        }
      } else {
        // Half a block at a time, or less.
        each_part<kWide>(
            [&]<int AT>() { add.template operator()<V::kTileVecs, AT>(); });
      }
    }
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

template <class V, class Tile>
void score_tile(const AttentionState& s, const Tile& keys, int count) {
  by_fours(s.rows, [&]<int ROWS>(int row) {
    float* scores = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
    for (int k = 0; k < count; k += V::kWidth) {
      const int some = count - k < V::kWidth ? count - k : V::kWidth;
      score_keys<V, ROWS>(s, row, keys, k, some, scores + k);
    }
  });
}

template <class V>
void few_rows(const AttentionTask& task) {
  AttentionState s = open_state<V>(task);
  load_queries<V>(task, s);
  const TileSource keys = key_source<V>(task, s);
  const TileSource values = value_source<V>(task, s);
  each_tile<V>(task, [&](int slot, int count, const std::int64_t* positions) {
    with_tile<V>(keys, slot, count, [&](const auto& tile) {
      score_tile<V>(s, tile, count);
    });
    softmax_tile<V>(task, s, positions, count);
    with_tile<V>(values, slot, count, [&](const auto& tile) {
      by_fours(s.rows, [&]<int ROWS>(int row) {
        add_value_tile<V, ROWS>(s, row, tile, count);
      });
    });
  });
  finish<V>(task, s);
}

}  // namespace roofline
