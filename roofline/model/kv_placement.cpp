#include "roofline/model/kv_placement.h"

#include "roofline/base/round_up.h"

namespace roofline {

namespace {

/// Slots are added in steps of this many, or of a quarter of what is there, so
/// that copying stays linear in the tokens and the slack below a quarter.
constexpr std::int64_t kStepSlots = 256;
/// Rings are rounded up to whole cache lines of the smallest head.
constexpr std::int64_t kRingMultiple = 32;
/// A layer that can be bounded by at most this many slots gets them at once, so
/// that its memory doesn't change while text streams.
constexpr std::int64_t kAtOnceSlots = 4096;

}  // namespace

int kept_tokens(const KvOptions& options) {
  const KvFormat& format = options.format;
  return std::max(
      options.keep_tokens,
      format.in_codes() ? format.keep_full : 0);
}

KvPlacement kv_placement(
    const AttentionSpec& attention,
    const KvOptions& options) {
  KvPlacement placement;
  if (options.max_tokens) {
    placement.keep = kept_tokens(options);
    placement.seen = *options.max_tokens - placement.keep;
  }
  const auto window = attention.window_tokens;
  if (window && (!options.max_tokens || *window <= *options.max_tokens)) {
    // Tokens kept in full have slots of their own here too: which are kept so
    // must not hang on the ring's size. They fall out of the window all the
    // same.
    placement.keep = options.format.in_codes() ? options.format.keep_full : 0;
    placement.keep_seen = *window;
    placement.seen = *window;
  }
  if (placement.seen != KvPlacement::kUnbounded) {
    placement.ring =
        round_up(placement.seen + options.max_chunk - 1, kRingMultiple);
  }
  return placement;
}

std::int64_t grown_slots(
    const KvPlacement& placement,
    std::int64_t slots,
    std::int64_t tokens) {
  const auto limit = placement.slot_limit();
  const auto needed = std::min(tokens, limit);
  if (needed <= slots) {
    return slots;
  }
  if (placement.bounded() && limit <= kAtOnceSlots) {
    return limit;
  }
  const auto step = round_up(std::max(slots / 4, kStepSlots), kStepSlots);
  return std::min(limit, std::max(round_up(needed, kStepSlots), slots + step));
}

void KvPlacement::list_segments(
    std::int64_t from,
    std::int64_t to,
    std::vector<KvSegment>& segments) const {
  segments.clear();
  const auto add = [&](std::int64_t first, std::int64_t last) {
    while (first < last) {
      const auto slot = slot_of(first);
      const auto run_end = first < keep ? keep : slot_limit();
      const auto count = std::min(last - first, run_end - slot);
      const bool joins =
          !segments.empty() &&
          segments.back().first_slot + segments.back().count == slot &&
          segments.back().first_position + segments.back().count == first;
      if (joins) {
        segments.back().count += static_cast<int>(count);
      } else {
        segments.push_back(
            {first, static_cast<int>(slot), static_cast<int>(count)});
      }
      first += count;
    }
  };
  add(first_kept_seen(from), std::min(keep, to));
  add(first_seen(from), to);
}

}  // namespace roofline
