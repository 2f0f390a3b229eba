// Softmax attention of float32 queries over a key-value cache, on the CPU.
// Grouped heads are not copied: one pass over a key-value head serves all its
// query heads. In: q after rope. Out: the heads' outputs, before the o matrix.
// Keys and values in codes are read where they lie: no copy of the cache.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "roofline/base/cpu_features.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/kv_codes/kv_codes.h"

namespace roofline {

enum class KvType { f16, f32 };

/// A run of cache slots that hold successive positions.
struct KvSegment {
  std::int64_t first_position = 0;
  int first_slot = 0;
  int count = 0;
};

/// One layer's cache of one sequence: keys [kv_heads, slots, head_dim] and
/// values [kv_heads, slots, value_row] in `type`. Where one of them has codes,
/// its array holds only the first full_slots slots, and the codes the others.
/// Segments are in order of position.
struct KvView {
  KvType type = KvType::f16;
  void* keys = nullptr;
  void* values = nullptr;
  int kv_heads = 0;
  int head_dim = 0;
  int slots = 0;
  std::span<const KvSegment> segments;
  /// Dims that a value has, the first of its row, and the row's; 0: head_dim.
  /// A latent is both key and value, and its values are the shorter.
  int value_dim = 0;
  int value_row = 0;
  int full_slots = 0;
  KvCodes key_codes = {};
  KvCodes value_codes = {};

  bool any_codes() const { return key_codes.bits + value_codes.bits > 0; }
  int dims_of_value() const { return value_dim > 0 ? value_dim : head_dim; }
  int dims_of_value_row() const { return value_row > 0 ? value_row : head_dim; }
};

struct AttentionArgs {
  const float* q = nullptr;  ///< [tokens, heads·head_dim], row stride q_stride
  int q_stride = 0;
  float* out = nullptr;  ///< [tokens, heads·value_dim], row stride out_stride
  int out_stride = 0;
  int tokens = 0;
  int heads = 0;
  std::int64_t first_position = 0;  ///< of the first query; they follow on
  float scale = 1.0f;
  std::optional<int> window_tokens;
  std::optional<float> softcap;
  /// [heads]: a logit more for each softmax, whose weight goes nowhere.
  const float* sinks = nullptr;
  KvView kv;  ///< the queries' own keys and values are already in it
};

/// Causal attention, cut into pieces for the pool. Reads each key and value
/// that some query sees about once per tile of queries.
void attend(const AttentionArgs& args, ThreadPool& pool);

}  // namespace roofline
