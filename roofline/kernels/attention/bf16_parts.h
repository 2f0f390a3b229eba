// What both kernels of attention in bfloat16 share: AVX-512's and the tiles'.
// Included by the files of either.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "roofline/kernels/attention/task.h"
#include "roofline/kernels/simd/vec_avx512.h"

namespace roofline {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr float kMinusInfinity = -__builtin_inff();

/// Row r's query or output: token by token, a group's heads in turn.
template <class T>
T* row_at(const AttentionTask& task, T* base, int stride, int r) {
  const int group = task.group();
  const std::ptrdiff_t token = task.token_begin + r / group;
  const std::ptrdiff_t head = task.kv_head * group + r % group;
  return base + token * stride + head * task.args->kv.head_dim;
}

/// Some keys, wherever they lie.
template <int KEYS>
struct KeyBlock {
  int count = 0;
  std::int64_t positions[KEYS];
  int slots[KEYS];
  std::ptrdiff_t at[KEYS];  ///< of the key's and the value's row of floats

  /// Of a key past the last: the last one's.
  std::ptrdiff_t row(int key) const { return at[std::min(key, count - 1)]; }
};

/// Calls meet(const KeyBlock&) for each KEYS of a task's keys, and for the
/// rest.
template <int KEYS, class Meet>
void each_block(const AttentionTask& task, Meet meet) {
  const KvView& kv = task.args->kv;
  const std::ptrdiff_t head =
      static_cast<std::ptrdiff_t>(task.kv_head) * kv.slots;
  KeyBlock<KEYS> block;
  for (int i = 0; i < task.run_count; ++i) {
    const KeyRun& run = task.runs[i];
    for (int k = 0; k < run.count; ++k) {
      block.positions[block.count] = run.position + k;
      block.slots[block.count] = run.slot + k;
      block.at[block.count] = (head + run.slot + k) * kv.head_dim;
      if (++block.count == KEYS) {
        meet(block);
        block.count = 0;
      }
    }
  }
  if (block.count > 0) {
    meet(block);
  }
}

/// The first dims of a row in codes, a multiple of 32, as floats.
template <int BITS>
void copy_codes(const KvCodes& codes, int head, int slot, int dims, Half* to) {
  static_assert(kKvBlock == 32);
  const std::ptrdiff_t row =
      static_cast<std::ptrdiff_t>(head) * codes.slots + slot;
  const std::uint8_t* from = codes.codes + row * codes.row_bytes();
  std::ptrdiff_t at =
      static_cast<std::ptrdiff_t>(head) * codes.groups() * codes.slots + slot;
  const auto of_group = [&](const std::uint16_t* values) {
    const auto all = _mm256_set1_epi16(static_cast<short>(values[at]));
    return Vec{_mm512_cvtph_ps(all)};
  };
  for (int begin = 0; begin < dims; begin += codes.group) {
    const Vec scale = of_group(codes.scales);
    const Vec bias = of_group(codes.biases);
    at += codes.slots;
    const int end = std::min(begin + codes.group, dims);
    for (int d = begin; d < end; d += kKvBlock, from += kKvBlock * BITS / 8) {
      const Vec low =
          BITS == 8 ? Vec::load_bytes(from) : Vec::load_low_halves(from);
      const Vec high =
          BITS == 8 ? Vec::load_bytes(from + 16) : Vec::load_high_halves(from);
      fma(low, scale, bias).store(to + d);
      fma(high, scale, bias).store(to + d + 16);
    }
  }
}

/// Calls convert(block, first row) with the floats of a block's keys or values:
/// where they lie or, if the cache has codes, in `copy` [KEYS, dims].
template <int KEYS, class Convert>
void with_floats(
    const AttentionTask& task,
    const KeyBlock<KEYS>& block,
    const KvCodes& codes,
    const void* floats,
    Half* copy,
    Convert convert) {
  const auto* first = static_cast<const Half*>(floats);
  if (codes.bits == 0) {
    convert(block, first);
    return;
  }
  const KvView& kv = task.args->kv;
  const int dims = kv.head_dim;
  KeyBlock<KEYS> copied;
  copied.count = block.count;
  for (int k = 0; k < block.count; ++k) {
    copied.at[k] = std::ptrdiff_t{k} * dims;
    Half* to = copy + copied.at[k];
    const int slot = block.slots[k] - kv.full_slots;
    if (slot < 0) {
      const std::ptrdiff_t row =
          std::ptrdiff_t{task.kv_head} * kv.full_slots + block.slots[k];
      std::copy_n(first + row * dims, dims, to);
    } else if (codes.bits == 8) {
      copy_codes<8>(codes, task.kv_head, slot, dims, to);
    } else {
      copy_codes<4>(codes, task.kv_head, slot, dims, to);
    }
  }
  convert(copied, copy);
}

/// Which of some keys a row sees.
struct SeenKeys {
  int begin = 0;
  int end = 0;

  bool none() const { return begin >= end; }
  bool all(int keys) const { return begin == 0 && end == keys; }
  /// Of 16 from a key on, a bit each.
  __mmask16 from(int key) const {
    const auto below = [&](int limit) {
      return (1u << std::clamp(limit - key, 0, 16)) - 1;
    };
    return static_cast<__mmask16>(below(end) & ~below(begin));
  }
};

/// positions: of `count` keys, 1 or more, rising.
inline SeenKeys seen_keys(
    const AttentionTask& task,
    int row,
    const std::int64_t* positions,
    int count) {
  const AttentionArgs& args = *task.args;
  const std::int64_t query =
      args.first_position + task.token_begin + row / task.group();
  const std::int64_t* last = positions + count;
  SeenKeys seen{0, count};
  if (last[-1] > query) {
    seen.end =
        static_cast<int>(std::upper_bound(positions, last, query) - positions);
  }
  if (args.window_tokens) {
    const std::int64_t oldest = query - *args.window_tokens + 1;
    if (*positions < oldest) {
      seen.begin = static_cast<int>(
          std::lower_bound(positions, last, oldest) - positions);
    }
  }
  return seen;
}

}  // namespace
}  // namespace roofline
