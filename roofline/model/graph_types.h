// What the parts of the graph share: in which types it calculates, and the
// sequences of a step.
#pragma once

#include <cstdint>
#include <memory>

#include <mlx/array.h>

#include "roofline/model/graph_attention.h"
#include "roofline/model/packed_samples.h"

namespace roofline {

/// In what the graph calculates.
struct GraphTypes {
  mx::Dtype activations = mx::float32;
  mx::Dtype residual = mx::float32;
  /// Fuse chains of small ops with mx::compile (it needs no compiler on a GPU).
  bool fuse = false;
  AttentionBy attention = AttentionBy::ops;
};

/// One sequence's part of a step: rows [begin, begin + tokens) of the batch.
struct GraphSequence {
  KvCache* cache = nullptr;
  int begin = 0;
  int tokens = 0;
  std::int64_t position = 0;         ///< of the first of them
  std::int64_t sequence_tokens = 0;  ///< picks the rope regime
  SlotMasks masks;
  /// Training: samples without caches; the one sequence has all of them.
  std::shared_ptr<const PackedSamples> packed = {};
};

/// Columns [begin, begin + count) of x [tokens, all].
mx::array columns(const mx::array& x, int begin, int count);

/// value as an array of x's type.
mx::array scalar_like(double value, const mx::array& x);

}  // namespace roofline
