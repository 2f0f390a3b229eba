// The keys and values of one sequence, for all layers. Position p of a layer
// lies in slot_of(p): the first few positions stay where they are, later ones
// share a ring of slots that is as large as the layer can see (so a layer that
// sees everything never wraps). Keys are stored after rope with their absolute
// positions. Recurrent layers have a state of fixed size instead
// (recurrent_states.h). Single owner; not safe to use from two threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/attention/attention.h"
#include "roofline/model/kv_format.h"
#include "roofline/model/kv_store.h"
#include "roofline/model/recurrent_states.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

namespace mx = mlx::core;

struct KvOptions {
  /// Keep at most this many positions in full-attention layers: the first
  /// keep_tokens and the latest. Absent: keep all.
  std::optional<int> max_tokens;
  int keep_tokens = 4;
  /// Longest run of tokens that one forward call will append.
  int max_chunk = 512;
  mx::Dtype dtype = mx::float16;
  /// Which of keys and values are in codes; dtype is what the others have. A
  /// rotating layer keeps the tokens that are kept in full.
  KvFormat format = {};
  KvLayout layout = KvLayout::kernels;
  /// States of recurrent layers that keep_state() holds at a time.
  int kept_states = 3;
  /// Kernels read and write it through view(): arrays lie in a KvMemory, and
  /// MLX's ops, which would copy them at each update, don't write to them.
  bool in_place = false;

  bool operator==(const KvOptions&) const = default;
};

/// Of a layer whose codes a graph writes in place: tokens of the ops that must
/// have run before the next one.
struct KvOrder {
  std::optional<mx::array> written;
  std::vector<mx::array> read;  ///< since then
};

class KvCache {
 public:
  /// Throws UserError when keep_tokens doesn't lie below max_tokens, a size
  /// isn't positive, or the model's cache can't have the format. Allocates
  /// nothing yet.
  KvCache(const ModelSpec& spec, const KvOptions& options);
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  const KvOptions& options() const;
  /// Tokens seen so far: the next token's position.
  std::int64_t position() const;
  /// Makes room for `tokens` more in every layer and advances position().
  /// After it, view() and segments() include them, and hold every position
  /// that the first of the new tokens sees. Throws BugError when tokens is
  /// above max_chunk.
  void reserve(int tokens);
  /// Forgets everything from `position` on. Throws UserError when a windowed
  /// or rotating layer has already overwritten what the next token would see,
  /// or a recurrent one kept no state there, and leaves the cache as it was.
  void truncate(std::int64_t position);
  /// Whether truncate(position) would succeed.
  bool can_truncate(std::int64_t position) const;
  /// The latest position ≤ `position` that truncate() can go to.
  std::int64_t reachable(std::int64_t position) const;
  /// Keeps the states of recurrent layers at position(), to go back to; of
  /// those kept, the latest and some that are spread before it stay.
  void keep_state();
  /// Keeps them until the next call of this, keep_state() or truncate(), beside
  /// the others.
  void keep_state_for_a_step();
  /// Forgets everything; the memory stays for the next sequence.
  void clear();

  /// CPU kernels: raw view of one layer, segments in order of position. Valid
  /// until the next reserve(), truncate() or clear().
  KvView view(int layer);
  /// Graph path: the arrays [1, kv_heads, slots, head_dim] of one layer, which
  /// the caller replaces after a slice update. Latent attention has the keys
  /// [1, 1, slots, kv_rank + rope_dim] only; its values have no dims. Where
  /// there are codes, these are the first slots.
  mx::array& keys(int layer);
  mx::array& values(int layer);
  KvStore& key_store(int layer);
  KvStore& value_store(int layer);
  KvOrder& order(int layer);
  /// What a recurrent layer remembers, which the caller replaces after a step.
  RecurrentState& recurrent(int layer);
  /// Slot of a position that is still held.
  int slot_of(int layer, std::int64_t position) const;
  /// The positions that queries of the last reserve() may look at (with
  /// causality and the layer's window still to be applied), at most three runs.
  const std::vector<KvSegment>& segments(int layer) const;

  /// Bytes allocated now.
  std::size_t bytes() const;
  /// Positions that one layer will have room for when `tokens` tokens were
  /// appended in chunks of max_chunk: room grows in steps, and a layer that
  /// sees less stays smaller.
  static std::int64_t slots_for(
      const AttentionSpec& attention,
      const KvOptions& options,
      std::int64_t tokens);
  /// Bytes of one layer's keys and values for so many tokens.
  static std::size_t layer_bytes_for(
      const AttentionSpec& attention,
      const KvOptions& options,
      std::int64_t tokens);
  /// Bytes that a sequence of `tokens` tokens will have allocated, without
  /// states that are kept beside the last.
  static std::size_t bytes_for(
      const ModelSpec& spec,
      const KvOptions& options,
      std::int64_t tokens);

 private:
  struct Layer;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace roofline
