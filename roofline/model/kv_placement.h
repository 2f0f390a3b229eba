// Which slots of a layer's cache hold which positions, and how many slots there
// are. Internal to KvCache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "roofline/model/kv_cache.h"

namespace roofline {

/// How a layer places positions: the first `keep` for good, the rest in a ring.
struct KvPlacement {
  /// Slots are counted in int.
  static constexpr std::int64_t kUnbounded = std::numeric_limits<int>::max();

  std::int64_t keep = 0;
  std::int64_t ring = kUnbounded;  ///< slots of the ring
  std::int64_t seen = kUnbounded;  ///< latest ring positions a query sees
  /// Latest positions among which the first `keep` are seen.
  std::int64_t keep_seen = kUnbounded;

  bool bounded() const { return ring != kUnbounded; }
  std::int64_t slot_limit() const {
    return bounded() ? keep + ring : kUnbounded;
  }
  std::int64_t slot_of(std::int64_t position) const {
    return position < keep ? position : keep + (position - keep) % ring;
  }
  /// The earliest ring position that the query at `position` sees.
  std::int64_t first_seen(std::int64_t position) const {
    return std::max(keep, position - seen + 1);
  }
  /// The same of the first `keep`.
  std::int64_t first_kept_seen(std::int64_t position) const {
    return std::max<std::int64_t>(0, position - keep_seen + 1);
  }
  /// The runs of slots that hold what queries [from, to) may see.
  void list_segments(
      std::int64_t from,
      std::int64_t to,
      std::vector<KvSegment>& segments) const;
};

KvPlacement kv_placement(
    const AttentionSpec& attention,
    const KvOptions& options);

/// First positions that never leave their slots in a rotating layer.
int kept_tokens(const KvOptions& options);

/// Slots to allocate for `tokens` positions when there are `slots` now.
std::int64_t grown_slots(
    const KvPlacement& placement,
    std::int64_t slots,
    std::int64_t tokens);

}  // namespace roofline
