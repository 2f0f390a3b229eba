#include "roofline/kernels/attention/known_calls.h"

#include <algorithm>
#include <tuple>

namespace roofline {

namespace {

auto shape_of(const KvCodes& codes) {
  return std::tuple(codes.bits, codes.group, codes.dims, codes.slots);
}

/// What the cut and the kernel depend on, but for the segments.
auto shape_of(const AttentionArgs& call) {
  const KvView& kv = call.kv;
  return std::tuple_cat(
      std::tuple(
          call.tokens,
          call.heads,
          call.first_position,
          call.window_tokens,
          call.softcap.has_value(),
          call.sinks != nullptr),
      std::tuple(
          kv.type,
          kv.kv_heads,
          kv.head_dim,
          kv.slots,
          kv.value_dim,
          kv.value_row,
          kv.full_slots),
      shape_of(kv.key_codes),
      shape_of(kv.value_codes));
}

bool same(const KvSegment& a, const KvSegment& b) {
  return a.first_position == b.first_position && a.first_slot == b.first_slot &&
         a.count == b.count;
}

}  // namespace

bool KnownCalls::alike(std::span<const AttentionArgs> calls) const {
  if (calls.size() != calls_.size()) {
    return false;
  }
  auto known = segments_.begin();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const auto& segments = calls[i].kv.segments;
    if (shape_of(calls[i]) != shape_of(calls_[i]) ||
        segments.size() > static_cast<std::size_t>(segments_.end() - known) ||
        !std::equal(segments.begin(), segments.end(), known, same)) {
      return false;
    }
    known += static_cast<std::ptrdiff_t>(segments.size());
  }
  return known == segments_.end();
}

void KnownCalls::keep(std::span<const AttentionArgs> calls) {
  calls_.assign(calls.begin(), calls.end());
  segments_.clear();
  for (const AttentionArgs& call : calls) {
    const auto& segments = call.kv.segments;
    segments_.insert(segments_.end(), segments.begin(), segments.end());
  }
}

}  // namespace roofline
