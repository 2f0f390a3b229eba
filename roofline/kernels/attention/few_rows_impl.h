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
/// into products[row][at …], without what biases add and without the first
/// group's scale, which finish_scores() brings in for many keys at once;
/// weigh_scales() went before. A key's values are made in registers, once for
/// all rows.
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
  const auto add_group = [&]<bool SCALED>(int g) {
    V scale[KEYS];
    for (int i = 0; i < KEYS && SCALED; ++i) {
      scale[i] = V::all(keys.scales[g * kKeyTile + k + i]);
    }
    const int end = (g + 1) * keys.group;
    for (int d = g * keys.group; d < end; d += kKvBlock) {
      for (int in = 0; in < kKvBlock; in += V::kWidth) {
        V parts[KEYS];
        for (int i = 0; i < KEYS; ++i) {
          const auto* block = block_of<BITS>(keys.row(k + i), d);
          parts[i] = load_codes<V, BITS>(block, in);
          if constexpr (SCALED) {
            parts[i] = parts[i] * scale[i];
          }
        }
        for (int r = 0; r < ROWS; ++r) {
          const V part = V::load(q + r * s.dims + d + in);
          for (int i = 0; i < KEYS; ++i) {
            sums[r][i] = fma(parts[i], part, sums[r][i]);
          }
        }
      }
    }
  };
  add_group.template operator()<false>(0);
  for (int g = 1; g < keys.groups; ++g) {
    add_group.template operator()<true>(g);
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int i = 0; i < KEYS; ++i) {
      products[r][at + i] = sums[r][i];
    }
  }
}

template <class V, class T>
inline void weigh_scales(
    const AttentionState& /*s*/,
    const PlainTile<T>& /*keys*/,
    int /*count*/) {}

/// The scales of a key's later groups become shares of its first one's, which
/// is never zero then: the smallest that f16 has is as good beside codes that
/// are all zero.
template <class V, int BITS>
inline void weigh_scales(
    const AttentionState& s,
    const CodeTile<BITS>& keys,
    int count) {
  const V least = V::all(5.9604645e-8f);
  for (int k = 0; k < count; k += V::kWidth) {
    const V first = max(V::load(s.key_scales + k), least);
    first.store(s.key_scales + k);
    for (int g = 1; g < keys.groups; ++g) {
      float* scales = s.key_scales + g * kKeyTile + k;
      (V::load(scales) / first).store(scales);
    }
  }
}

/// Σ q of each row's groups, [rows, groups], where few rows leave room: they
/// turn no keys into floats.
inline float* query_sums(const AttentionState& s) {
  return s.keys;
}

template <class V>
void sum_queries(const AttentionTask& task, const AttentionState& s) {
  const KvCodes& codes = task.args->kv.key_codes;
  if (codes.bits == 0) {
    return;
  }
  const int groups = codes.groups();
  for (int r = 0; r < s.rows; ++r) {
    const float* q = s.q + static_cast<std::int64_t>(r) * s.dims;
    for (int g = 0; g < groups; ++g) {
      V sum = V::all(0.0f);
      for (int d = 0; d < codes.group; d += V::kWidth) {
        sum = sum + V::load(q + g * codes.group + d);
      }
      query_sums(s)[r * groups + g] = sum_of(sum);
    }
  }
}

template <class V, class T>
inline void finish_scores(
    const AttentionState& /*s*/,
    int /*row*/,
    const PlainTile<T>& /*keys*/,
    int /*count*/) {}

/// A row's scores of a tile in codes: Σ q·(s·c + b) is Σ q·s·c + b·Σ q, group
/// by group, so that biases cost nothing for each dim.
template <class V, int BITS>
inline void finish_scores(
    const AttentionState& s,
    int row,
    const CodeTile<BITS>& keys,
    int count) {
  float* scores = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
  for (int g = 0; g < keys.groups; ++g) {
    const V all = V::all(query_sums(s)[row * keys.groups + g]);
    const float* biases = keys.biases + g * kKeyTile;
    for (int k = 0; k < count; k += V::kWidth) {
      V score = V::load(scores + k);
      if (g == 0) {
        score = score * V::load(keys.scales + k);
      }
      fma(V::load(biases + k), all, score).store(scores + k);
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
      if (k < count) {
        const int left = count - k;
        const V w = V::load(weights + k, left);
        (w * V::load(scales + k, left)).store(scaled[r] + k);
        sum = fma(w, V::load(biases + k, left), sum);
      }
      bias[r] = sum_of(sum);
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

/// sums[row …][d …] += weights · values for VECS vectors of GROUPS groups, of
/// which the first begins AT dims into its block. weights: of each group.
template <class V, int ROWS, int VECS, int AT, int GROUPS, int BITS>
void add_codes(
    const AttentionState& s,
    int row,
    const CodeTile<BITS>& values,
    const GroupWeights<V, ROWS>* weights,
    int count,
    int d) {
  constexpr int kEach = VECS / GROUPS;
  V acc[ROWS][VECS];
  float* sums = s.sums + static_cast<std::int64_t>(row) * s.value_dims + d;
  for (int r = 0; r < ROWS; ++r) {
    for (int v = 0; v < VECS; ++v) {
      acc[r][v] = V::load(sums + r * s.value_dims + v * V::kWidth) +
                  V::all(weights[v / kEach].bias[r]);
    }
  }
  for (int k = 0; k < count; ++k) {
    const std::uint8_t* block = block_of<BITS>(values.row(k), d - AT);
    ask_ahead(block, VECS * V::kWidth * BITS / 8);
    V parts[VECS];
    for (int v = 0; v < VECS; ++v) {
      const int at = AT + v * V::kWidth;
      parts[v] = load_codes<V, BITS>(
          block_of<BITS>(block, at / kKvBlock * kKvBlock),
          at % kKvBlock);
    }
    for (int r = 0; r < ROWS; ++r) {
      for (int g = 0; g < GROUPS; ++g) {
        const V w = V::all(weights[g].scaled[r][k]);
        for (int v = g * kEach; v < (g + 1) * kEach; ++v) {
          acc[r][v] = fma(w, parts[v], acc[r][v]);
        }
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
  int g = 0;
  if constexpr (kWide == 2 * kKvBlock) {
    // Two groups at once: the sums of one are too few to hide their latency.
    for (; values.group == kKvBlock && g + 2 <= values.groups; g += 2) {
      const GroupWeights<V, ROWS> both[] = {
          {s, row, values, g, count},
          {s, row, values, g + 1, count}};
      add_codes<V, ROWS, V::kTileVecs, 0, 2>(
          s,
          row,
          values,
          both,
          count,
          g * kKvBlock);
    }
  }
  int d = g * values.group;
  for (; g < values.groups; ++g) {
    const GroupWeights<V, ROWS> weights(s, row, values, g, count);
    const int end = (g + 1) * values.group;
    const auto add = [&]<int VECS, int AT>() {
      add_codes<V, ROWS, VECS, AT, 1>(s, row, values, &weights, count, d);
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
  weigh_scales<V>(s, keys, count);
  by_fours(s.rows, [&]<int ROWS>(int row) {
    float* scores = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
    for (int k = 0; k < count; k += V::kWidth) {
      const int some = count - k < V::kWidth ? count - k : V::kWidth;
      score_keys<V, ROWS>(s, row, keys, k, some, scores + k);
    }
    for (int r = 0; r < ROWS; ++r) {
      finish_scores<V>(s, row + r, keys, count);
    }
  });
}

template <class V>
void few_rows(const AttentionTask& task) {
  AttentionState s = open_state<V>(task);
  load_queries<V>(task, s);
  sum_queries<V>(task, s);
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
