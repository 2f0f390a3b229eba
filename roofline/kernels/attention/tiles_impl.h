// A tile of keys or of values as it lies in the cache: successive slots, in
// floats or in codes. Included only by instantiating files.
#pragma once

#include "roofline/base/cpu_features.h"
#include "roofline/kernels/attention/attention_impl.h"

namespace roofline {

// Each instruction set has its own copies: see vec_generic.h.
namespace {

constexpr int kAskedAhead = 8192;

/// Asks for what lies a few kilobytes after a part of the cache: rows are read
/// one after the other, but the hardware's own prefetch keeps too few lines
/// under way and stops at each page. Inlined always: to a compiler a function
/// that only asks does nothing, and its call can go.
[[gnu::always_inline]] inline void ask_ahead(const void* part, int bytes) {
  for (int line = 0; line < bytes; line += 64) {
    __builtin_prefetch(static_cast<const char*>(part) + kAskedAhead + line);
  }
}

/// The same for rows that end somewhere: beyond lie slots that nobody reads
/// now, with a short cache as many bytes as the keys themselves. What few rows
/// read they read once: it stays out of the second cache where the processor
/// takes that well.
[[gnu::always_inline]] inline void ask_ahead(
    const void* part,
    int bytes,
    const void* end) {
  const char* from = static_cast<const char*>(part);
  if (static_cast<const char*>(end) - from <= kAskedAhead) {
    return;
  }
  if (!kStreamsOnce) {
    ask_ahead(part, bytes);
    return;
  }
  constexpr int kOnce = 0;
  for (int line = 0; line < bytes; line += 64) {
    __builtin_prefetch(from + kAskedAhead + line, 0, kOnce);
  }
}

/// Slots between a tile's scales and those that are asked for with it: they lie
/// in as many places as there are groups.
constexpr int kScalesAhead = 2 * kKeyTile;

[[gnu::always_inline]] inline void ask_for_scales(const void* tile) {
  constexpr int kBytes = 2 * kKeyTile;
  for (int line = 0; line < kBytes; line += 64) {
    __builtin_prefetch(static_cast<const char*>(tile) + line);
  }
}

/// Rows of f16 or float32.
template <class T>
struct PlainTile {
  static constexpr bool kInCodes = false;

  const T* first = nullptr;
  std::int64_t stride = 0;
  int dims = 0;
  const T* end = nullptr;  ///< of the run that the tile is part of

  const T* row(int k) const { return first + k * stride; }
  int row_bytes() const { return dims * static_cast<int>(sizeof(T)); }

  /// Keys whose sums, for four rows, fit into the registers.
  template <class V>
  static constexpr int keys_at_once() {
    return V::kTileVecs;
  }
};

/// Rows of codes (kv_codes.h), and what their scales and biases are as floats.
template <int BITS>
struct CodeTile {
  static constexpr bool kInCodes = true;

  const std::uint8_t* first = nullptr;
  std::int64_t stride = 0;
  int groups = 0;
  int group = 0;
  const float* scales = nullptr;  ///< [groups, kKeyTile]
  const float* biases = nullptr;  ///< as scales

  const std::uint8_t* row(int k) const { return first + k * stride; }
  int row_bytes() const { return groups * group * BITS / 8; }
};

/// Where one layer's keys or values lie.
struct TileSource {
  const AttentionTask& task;
  const void* floats = nullptr;
  int row_dims = 0;
  int dims = 0;  ///< that are read, the first of a row
  const KvCodes& codes;
  float* scratch = nullptr;
};

}  // namespace

/// Where the block of codes begins that has dim d, a multiple of kKvBlock.
template <int BITS>
inline const std::uint8_t* block_of(const std::uint8_t* row, int d) {
  return row + d * BITS / 8;
}

/// Codes [at, at + V::kWidth) of a block, as floats. `at` is best a constant.
template <class V, int BITS>
inline V load_codes(const std::uint8_t* block, int at) {
  constexpr int kHalf = kKvBlock / 2;
  if constexpr (BITS == 8) {
    if constexpr (requires { V::load_bytes(block); }) {
      return V::load_bytes(block + at);
    }
  } else if constexpr (requires { V::load_low_halves(block); }) {
    return at < kHalf ? V::load_low_halves(block + at)
                      : V::load_high_halves(block + at - kHalf);
  }
  const int shift = BITS == 8 || at < kHalf ? 0 : 4;
  const std::uint8_t* from = BITS == 8 ? block + at : block + at % kHalf;
  float lanes[V::kWidth];
  for (int i = 0; i < V::kWidth; ++i) {
    lanes[i] = static_cast<float>(from[i] >> shift & ((1 << BITS) - 1));
  }
  return V::load(lanes);
}

/// Dims [d, d + V::kWidth) of key k, zeros past the last.
template <class V, class T>
inline V load_padded(const PlainTile<T>& tile, int k, int d) {
  const int left = tile.dims - d;
  const T* row = tile.row(k);
  if (left >= V::kWidth) {
    return V::load(row + d);
  }
  return left > 0 ? V::load(row + d, left) : V::all(0.0f);
}

/// The same; what pads a row in codes isn't zero, and no one looks at it.
template <class V, int BITS>
inline V load_padded(const CodeTile<BITS>& tile, int k, int d) {
  const int at = d / tile.group * kKeyTile + k;
  const int in_block = d % kKvBlock;
  return fma(
      load_codes<V, BITS>(block_of<BITS>(tile.row(k), d - in_block), in_block),
      V::all(tile.scales[at]),
      V::all(tile.biases[at]));
}

/// Zeros follow up to a whole vector.
template <class V>
inline void to_floats(const Half* from, int count, float* to) {
  int i = 0;
  for (; i + V::kWidth <= count; i += V::kWidth) {
    V::load(from + i).store(to + i);
  }
  if (i < count) {
    V::load(from + i, count - i).store(to + i);
  }
}

/// The codes of `count` slots, the first of them `slot`; their scales are put
/// into scratch.
template <class V, int BITS>
CodeTile<BITS> open_codes(const TileSource& source, int slot, int count) {
  const KvCodes& codes = source.codes;
  float* scratch = source.scratch;
  CodeTile<BITS> tile;
  const std::int64_t row =
      static_cast<std::int64_t>(source.task.kv_head) * codes.slots;
  tile.stride = codes.row_bytes();
  tile.first = codes.codes + (row + slot) * tile.stride;
  tile.groups = (source.dims + codes.group - 1) / codes.group;
  tile.group = codes.group;
  float* biases = scratch + tile.groups * kKeyTile;
  for (int g = 0; g < tile.groups; ++g) {
    const std::int64_t at = row * codes.groups() +
                            static_cast<std::int64_t>(g) * codes.slots + slot;
    ask_for_scales(codes.scales + at + kScalesAhead);
    ask_for_scales(codes.biases + at + kScalesAhead);
    to_floats<V>(codes.scales + at, count, scratch + g * kKeyTile);
    to_floats<V>(codes.biases + at, count, biases + g * kKeyTile);
  }
  tile.scales = scratch;
  tile.biases = biases;
  return tile;
}

template <class V>
inline TileSource key_source(const AttentionTask& task, AttentionState& s) {
  const KvView& kv = task.args->kv;
  const int dims = kv.head_dim;
  return {task, kv.keys, dims, dims, kv.key_codes, s.key_scales};
}

template <class V>
inline TileSource value_source(const AttentionTask& task, AttentionState& s) {
  const KvView& kv = task.args->kv;
  return {
      task,
      kv.values,
      kv.dims_of_value_row(),
      kv.dims_of_value(),
      kv.value_codes,
      s.value_scales};
}

/// Slots from `slot` on to the end of its run.
inline int slots_left(const AttentionTask& task, int slot) {
  int i = 0;
  while (slot < task.runs[i].slot ||
         slot >= task.runs[i].slot + task.runs[i].count) {
    ++i;
  }
  return task.runs[i].slot + task.runs[i].count - slot;
}

/// Calls f with the tile of `count` slots from `slot` on.
template <class V, class F>
inline void with_tile(const TileSource& source, int slot, int count, F f) {
  const KvView& kv = source.task.args->kv;
  const KvCodes& codes = source.codes;
  if (codes.bits > 0 && slot >= kv.full_slots) {
    const int at = slot - kv.full_slots;
    if (codes.bits == 8) {
      f(open_codes<V, 8>(source, at, count));
    } else {
      f(open_codes<V, 4>(source, at, count));
    }
    return;
  }
  const std::int64_t slots = codes.bits > 0 ? kv.full_slots : kv.slots;
  const std::int64_t at =
      (source.task.kv_head * slots + slot) * source.row_dims;
  const std::int64_t stride = source.row_dims;
  const std::int64_t left = slots_left(source.task, slot) * stride;
  if (kv.type == KvType::f16) {
    const auto* first = static_cast<const Half*>(source.floats) + at;
    f(PlainTile<Half>{first, stride, source.dims, first + left});
  } else {
    const auto* first = static_cast<const float*>(source.floats) + at;
    f(PlainTile<float>{first, stride, source.dims, first + left});
  }
}

/// Calls f(slot, count, positions) for each tile of a task's keys; positions:
/// [kKeyTile], of the tile's keys.
template <class V, class F>
inline void each_tile(const AttentionTask& task, F f) {
  std::int64_t positions[kKeyTile];
  for (int i = 0; i < task.run_count; ++i) {
    const KeyRun& run = task.runs[i];
    for (int begin = 0; begin < run.count; begin += kKeyTile) {
      const int left = run.count - begin;
      const int count = left < kKeyTile ? left : kKeyTile;
      for (int k = 0; k < count; ++k) {
        positions[k] = run.position + begin + k;
      }
      f(run.slot + begin, count, positions);
    }
  }
}

}  // namespace roofline
