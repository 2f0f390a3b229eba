// The attention kernels, written once over the vector type of an instruction
// set: online softmax (Milakov and Gimelshein 2018; Dao et al. 2022) over tiles
// of keys. Included only by the files that instantiate them.
#pragma once

#include <cstdint>

#include "roofline/kernels/attention/task.h"
#include "roofline/kernels/simd/half.h"
#include "roofline/kernels/simd/vec_math.h"

namespace roofline {

constexpr float kMinusInfinity = -__builtin_inff();

/// The rows of a task in scratch, and their running softmax.
struct AttentionState {
  int rows = 0;
  int dims = 0;              ///< of queries and keys, padded
  int value_dims = 0;        ///< padded
  float* q = nullptr;        ///< [rows, dims], scaled
  float* sums = nullptr;     ///< [rows, value_dims]
  float* scores = nullptr;   ///< [rows, kKeyTile]
  float* largest = nullptr;  ///< [rows]
  float* total = nullptr;    ///< [rows]
  float* keys = nullptr;     ///< [dims, kKeyTile]
  float* values = nullptr;   ///< [kKeyTile, value_dims]
  /// Scales, then biases, of a tile in codes: twice [groups, kKeyTile].
  float* key_scales = nullptr;
  float* value_scales = nullptr;
};

template <class V>
AttentionState open_state(const AttentionTask& task) {
  AttentionState s;
  const KvView& kv = task.args->kv;
  s.rows = task.rows();
  s.dims = padded_dims(kv.head_dim, kv.key_codes);
  s.value_dims = padded_dims(kv.dims_of_value(), kv.value_codes);
  float* free = task.scratch;
  const auto take = [&free](int rows, int columns) {
    float* taken = free;
    free += static_cast<std::ptrdiff_t>(rows) * columns;
    return taken;
  };
  s.q = take(s.rows, s.dims);
  s.sums = take(s.rows, s.value_dims);
  s.scores = take(s.rows, kKeyTile);
  s.keys = take(s.dims, kKeyTile);
  s.values = take(kKeyTile, s.value_dims);
  if (kv.key_codes.bits > 0) {
    s.key_scales = take(2 * kv.key_codes.groups(), kKeyTile);
  }
  if (kv.value_codes.bits > 0) {
    s.value_scales = take(2 * kv.value_codes.groups(), kKeyTile);
  }
  s.largest = take(s.rows, 1);
  s.total = take(s.rows, 1);
  return s;
}

/// Row r of a task, whose heads have so many dims: its query or its place in
/// the output.
template <class V, class T>
inline T* row_of(
    const AttentionTask& task,
    T* base,
    int stride,
    int dims,
    int r) {
  const int group = task.group();
  const std::int64_t token = task.token_begin + r / group;
  const std::int64_t head = task.kv_head * group + r % group;
  return base + token * stride + head * dims;
}

template <class V>
void load_queries(const AttentionTask& task, const AttentionState& s) {
  const int dims = task.args->kv.head_dim;
  const V scale = V::all(task.args->scale);
  const V zero = V::all(0.0f);
  for (int r = 0; r < s.rows; ++r) {
    const float* from =
        row_of<V>(task, task.args->q, task.args->q_stride, dims, r);
    float* q = s.q + static_cast<std::int64_t>(r) * s.dims;
    float* sums = s.sums + static_cast<std::int64_t>(r) * s.value_dims;
    for (int d = 0; d < s.dims; d += V::kWidth) {
      const int left = dims - d;
      const V v = left >= V::kWidth ? V::load(from + d)
                  : left > 0        ? V::load(from + d, left)
                                    : zero;
      (v * scale).store(q + d);
    }
    for (int d = 0; d < s.value_dims; d += V::kWidth) {
      zero.store(sums + d);
    }
    s.largest[r] = kMinusInfinity;
    s.total[r] = 0.0f;
  }
}

template <class V>
void finish(const AttentionTask& task, const AttentionState& s) {
  const AttentionArgs& args = *task.args;
  const int dims = args.kv.dims_of_value();
  for (int r = 0; r < s.rows; ++r) {
    const float* sums = s.sums + static_cast<std::int64_t>(r) * s.value_dims;
    float* to = task.partial
                    ? task.partial + static_cast<std::int64_t>(r) * (dims + 2)
                    : row_of<V>(task, args.out, args.out_stride, dims, r);
    float total = s.total[r];
    if (args.sinks && !task.partial) {
      float weight[V::kWidth];
      const int group = task.group();
      const float sink = args.sinks[task.kv_head * group + r % group];
      vec_exp(V::all(sink - s.largest[r])).store(weight);
      total += weight[0];
    }
    const float factor = task.partial ? 1.0f : 1.0f / total;
    for (int d = 0; d < dims; d += V::kWidth) {
      const V v = V::load(sums + d) * V::all(factor);
      if (dims - d >= V::kWidth) {
        v.store(to + d);
      } else {
        v.store(to + d, dims - d);
      }
    }
    if (task.partial) {
      to[dims] = s.largest[r];
      to[dims + 1] = s.total[r];
    }
  }
}

/// Keys of a tile that one row sees: [begin, end).
struct Visible {
  int begin = 0;
  int end = 0;
};

/// positions: of the tile's count keys, rising.
template <class V>
Visible visible_keys(
    const AttentionTask& task,
    int row,
    const std::int64_t* positions,
    int count) {
  const AttentionArgs& args = *task.args;
  const std::int64_t query =
      args.first_position + task.token_begin + row / task.group();
  Visible seen{0, count};
  while (seen.end > 0 && positions[seen.end - 1] > query) {
    --seen.end;
  }
  if (args.window_tokens) {
    const std::int64_t first = query - *args.window_tokens + 1;
    while (seen.begin < seen.end && positions[seen.begin] < first) {
      ++seen.begin;
    }
  }
  return seen;
}

/// Bends a row's scores, leaves out what it doesn't see up to `padded`, and
/// returns the largest one so far.
template <class V>
float prepare_scores(
    const AttentionTask& task,
    const AttentionState& s,
    int row,
    Visible seen,
    int padded) {
  float* scores = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
  if (task.args->softcap) {
    const V cap = V::all(*task.args->softcap);
    for (int i = 0; i < padded; i += V::kWidth) {
      (cap * vec_tanh(V::load(scores + i) / cap)).store(scores + i);
    }
  }
  for (int i = 0; i < seen.begin; ++i) {
    scores[i] = kMinusInfinity;
  }
  for (int i = seen.end; i < padded; ++i) {
    scores[i] = kMinusInfinity;
  }
  V tops = V::all(s.largest[row]);
  for (int i = 0; i < padded; i += V::kWidth) {
    tops = max(tops, V::load(scores + i));
  }
  return max_of(tops);
}

/// Scores become weights against the largest one so far, to which the row's
/// sums are scaled.
template <class V>
void weigh_scores(const AttentionState& s, int row, float top, int padded) {
  float* scores = s.scores + static_cast<std::int64_t>(row) * kKeyTile;
  const V shift = V::all(top);
  V weights = V::all(0.0f);
  for (int i = 0; i < padded; i += V::kWidth) {
    const V w = vec_exp(V::load(scores + i) - shift);
    weights = weights + w;
    w.store(scores + i);
  }
  if (top > s.largest[row]) {
    const V factors = vec_exp(V::all(s.largest[row]) - shift);
    float factor[V::kWidth];
    factors.store(factor);
    float* sums = s.sums + static_cast<std::int64_t>(row) * s.value_dims;
    for (int d = 0; d < s.value_dims; d += V::kWidth) {
      (V::load(sums + d) * factors).store(sums + d);
    }
    s.total[row] *= factor[0];
    s.largest[row] = top;
  }
  s.total[row] += sum_of(weights);
}

/// Rows whose largest scores are found before the first of them is weighed:
/// a row's weights would wait for its own.
constexpr int kWeighedRows = 4;

/// A tile's scores become weights; what a row doesn't see gets none.
template <class V>
void softmax_tile(
    const AttentionTask& task,
    const AttentionState& s,
    const std::int64_t* positions,
    int count) {
  const int padded = (count + V::kWidth - 1) / V::kWidth * V::kWidth;
  for (int first = 0; first < s.rows; first += kWeighedRows) {
    const int left = s.rows - first;
    const int rows = left < kWeighedRows ? left : kWeighedRows;
    float tops[kWeighedRows];
    for (int r = 0; r < rows; ++r) {
      const Visible seen = visible_keys<V>(task, first + r, positions, count);
      tops[r] = seen.begin < seen.end
                    ? prepare_scores<V>(task, s, first + r, seen, padded)
                    : kMinusInfinity;
    }
    for (int r = 0; r < rows; ++r) {
      if (tops[r] == kMinusInfinity) {
        float* scores =
            s.scores + static_cast<std::int64_t>(first + r) * kKeyTile;
        for (int i = 0; i < padded; ++i) {
          scores[i] = 0.0f;
        }
      } else {
        weigh_scores<V>(s, first + r, tops[r], padded);
      }
    }
  }
}

}  // namespace roofline
