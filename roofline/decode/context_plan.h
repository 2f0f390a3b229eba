// What fits: how prompt, answer and context go together, before anything runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "roofline/decode/generate.h"
#include "roofline/model/kv_cache.h"

namespace roofline {

struct ContextPlan {
  KvOptions cache;
  /// Tokens to draw at most; fewer than asked for when the context ends first.
  int max_tokens = 0;
  /// The longest prompt that is run whole; INT64_MAX when there is no limit.
  std::int64_t longest_prompt = INT64_MAX;
};

/// context_tokens: what the model was made for; 0: unknown, no limit.
/// Throws UserError with both numbers and the ways out when the prompt doesn't
/// leave room for one token and may not roll.
ContextPlan plan_context(
    std::int64_t prompt_tokens,
    std::int64_t context_tokens,
    const GenerateOptions& options);

/// The first `keep` tokens and the latest, `size` in all.
std::vector<std::int32_t> first_and_latest(
    std::span<const std::int32_t> tokens,
    std::int64_t keep,
    std::int64_t size);

}  // namespace roofline
