// What fits: the largest context of a model in a budget of memory, and the
// settings with which it fits, best quality first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/plan/memory.h"

namespace roofline {

/// "16GB", "16 GiB", "16", "0.5TB", "512MB" as memory is sold: powers of 1024.
/// Throws UserError naming `option`.
std::uint64_t parse_memory_size(
    std::string_view text,
    std::string_view option = "--ram");

/// Tokens, in steps of 256, at most the model's own context; 0: not even 256
/// fit.
std::int64_t largest_context(
    const PlannedModel& model,
    InferenceQuestion question,
    std::uint64_t budget_bytes);

/// One way to run a model.
struct FitChoice {
  /// Absent: as stored.
  std::optional<WeightFormat> format;
  InferenceQuestion question;
  std::uint64_t bytes = 0;
  /// With these settings; 0: none.
  std::int64_t largest_context = 0;
  /// The context asked for fits.
  bool whole = false;

  std::string format_text(const PlannedModel& model) const;
};

/// Weights as stored and in 8 and 4 bits (or as the wish quantizes them), each
/// with the KV cache as wished for, or in 16, 8 and 4 bits where that is
/// floats, with the prefill step asked for, and a step of 128 where that
/// doesn't do. Only those with a context of at least 256 tokens. In the order
/// of what was measured to be lost (docs/quantize.md, docs/kv-cache.md), a
/// shorter context than asked for last.
std::vector<FitChoice> settings_that_fit(
    const PlannedModel& model,
    const InferenceQuestion& wish,
    std::uint64_t budget_bytes);

/// The way that takes the least memory: 4 bits wherever there is a choice, and
/// 256 tokens of context.
FitChoice smallest_choice(
    const PlannedModel& model,
    const InferenceQuestion& wish);

}  // namespace roofline
