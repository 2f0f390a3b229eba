// Attention over a KvCache as MLX ops: writes a step's keys and values into the
// cache's slots, says which slots each query sees, and computes
// softmax(mask(softcap(scale·q·kᵀ)))·v without copying grouped heads.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/kv_cache.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Which of the slots [first_slot, first_slot + slots) a step's queries see.
struct SlotMask {
  int first_slot = 0;
  int slots = 0;
  std::int64_t position = 0;  ///< of the first query
  /// Every query sees all slots up to its own position, which come in order.
  bool causal = false;
  /// [tokens, slots] bool; absent when all slots are seen or `causal` says it.
  std::optional<mx::array> seen;
};

/// The mask of `tokens` queries from `position` on, over the runs of slots that
/// the cache lists.
SlotMask make_slot_mask(
    const std::vector<KvSegment>& segments,
    std::int64_t position,
    int tokens,
    std::optional<int> window_tokens);

/// Which slots each query sees [tokens, slots], `causal` written out; absent:
/// all of them.
std::optional<mx::array> seen_of(const SlotMask& mask, int tokens);

/// Masks of one sequence's step: layers that see the same share one.
class SlotMasks {
 public:
  SlotMasks(std::int64_t position, int tokens)
      : position_(position), tokens_(tokens) {}
  const SlotMask& get(
      const std::vector<KvSegment>& segments,
      std::optional<int> window_tokens);

 private:
  struct Entry {
    std::vector<KvSegment> segments;
    std::optional<int> window_tokens;
    SlotMask mask;
  };
  std::int64_t position_;
  int tokens_;
  std::vector<Entry> entries_;
};

/// Writes latents [1, 1, tokens, kv_rank + rope_dim], the first at `position`.
void store_latent(
    KvCache& cache,
    int layer,
    const mx::array& latents,
    std::int64_t position);

/// Writes k and v [1, kv_heads, tokens, head_dim], the first at `position`.
void store(
    KvCache& cache,
    int layer,
    const mx::array& k,
    const mx::array& v,
    std::int64_t position);

/// Which attention reads a cache of floats.
enum class AttentionBy {
  ops,      ///< MLX's, with a gradient; scores of all slots in memory on a CPU
  kernels,  ///< the CPU's, without
};

/// q [1, heads, tokens, head_dim] over the cached keys and values of a layer;
/// the same shape comes out. sinks: [heads], one logit more for each softmax.
mx::array attend(
    const mx::array& q,
    KvCache& cache,
    int layer,
    const AttentionSpec& spec,
    const SlotMask& mask,
    const std::optional<mx::array>& sinks = std::nullopt,
    AttentionBy by = AttentionBy::ops);

}  // namespace roofline
