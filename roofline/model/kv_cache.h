// The keys and values of one sequence, for all layers. Position p of a layer
// lies in slot_of(p); a full cache grows in steps, a windowed or rotating one
// reuses slots. Keys are stored after rope with their absolute positions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/attention/attention.h"
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
};

class KvCache {
 public:
  KvCache(const ModelSpec& spec, const KvOptions& options);

  /// Tokens seen so far: the next token's position.
  std::int64_t position() const;
  /// Makes room for `tokens` more in every layer and advances position().
  /// After it, view(layer) and slots(…) include them.
  void reserve(int tokens);
  /// Forgets everything from `position` on (never the reused slots: throws
  /// UserError when a windowed layer has already overwritten what is needed).
  void truncate(std::int64_t position);
  void clear();

  /// CPU kernels: raw view of one layer, segments in order of position.
  KvView view(int layer);
  /// Graph path: the arrays [1, kv_heads, slots, head_dim] of one layer, which
  /// the caller replaces after a slice update.
  mx::array& keys(int layer);
  mx::array& values(int layer);
  /// Slot of a position that is still held.
  int slot_of(int layer, std::int64_t position) const;
  const std::vector<KvSegment>& segments(int layer) const;

  /// Bytes allocated now.
  std::size_t bytes() const;

 private:
  struct Layer;
  struct State;
  std::shared_ptr<State> state_;
};

} // namespace roofline
