#include "roofline/decode/context_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/decode/draft_pace.h"
#include "roofline/decode/prompt_lookup.h"

namespace roofline {

namespace {

void require(bool sound, std::string_view what, std::string_view why) {
  if (!sound) {
    fail<UserError>(what, why, "Give another value or leave the option out");
  }
}

}  // namespace

void validate(const GenerateOptions& options) {
  validate(options.sampling);
  require(
      options.max_tokens >= 0,
      fmt::format("max_tokens is {}", options.max_tokens),
      "It must be at least 0");
  require(
      options.min_tokens >= 0 && options.min_tokens <= options.max_tokens,
      fmt::format("min_tokens is {}", options.min_tokens),
      fmt::format(
          "It must lie in 0 to max_tokens, which is {}",
          options.max_tokens));
  require(
      options.prefill_chunk >= 1,
      fmt::format("prefill_chunk is {}", options.prefill_chunk),
      "It must be at least 1");
  require(
      options.prompt_lookup >= 0 && options.prompt_lookup <= kMostPromptLookup,
      fmt::format("prompt_lookup is {}", options.prompt_lookup),
      fmt::format("It must lie in 0 to {}", kMostPromptLookup));
  require(
      options.num_draft_tokens >= 0 &&
          options.num_draft_tokens <= kMostDraftTokens,
      fmt::format("num_draft_tokens is {}", options.num_draft_tokens),
      fmt::format("It must lie in 0 to {}", kMostDraftTokens));
  const int keep = KvOptions{}.keep_tokens;
  require(
      !options.max_kv_tokens || *options.max_kv_tokens > keep,
      fmt::format("max_kv is {}", options.max_kv_tokens.value_or(0)),
      fmt::format(
          "It must be at least {}: the first {} tokens are always kept",
          keep + 1,
          keep));
}

ContextPlan plan_context(
    std::int64_t prompt_tokens,
    std::int64_t context_tokens,
    const GenerateOptions& options) {
  ContextPlan plan;
  plan.max_tokens = options.max_tokens;
  plan.cache.max_chunk = options.prefill_chunk;
  plan.cache.max_tokens = options.max_kv_tokens;
  const bool limited = context_tokens > 0;
  if (options.overflow == ContextOverflow::roll) {
    if (limited) {
      const std::int64_t kept =
          options.max_kv_tokens.value_or(static_cast<int>(context_tokens));
      plan.cache.max_tokens = static_cast<int>(std::min(kept, context_tokens));
    }
    plan.longest_prompt = plan.cache.max_tokens.value_or(INT32_MAX);
    return plan;
  }
  if (options.max_kv_tokens || !limited) {
    return plan;
  }
  const std::int64_t room = context_tokens - prompt_tokens;
  if (room < 1) {
    fail<UserError>(
        fmt::format(
            "The prompt has {} tokens and the model's context {}",
            prompt_tokens,
            context_tokens),
        "At least one token must be left for the answer",
        "Shorten the prompt, let it roll with --context-overflow roll, or "
        "bound the cache with --max-kv N");
  }
  plan.max_tokens =
      static_cast<int>(std::min<std::int64_t>(plan.max_tokens, room));
  return plan;
}

std::vector<std::int32_t> first_and_latest(
    std::span<const std::int32_t> tokens,
    std::int64_t keep,
    std::int64_t size) {
  const auto first = tokens.first(static_cast<std::size_t>(keep));
  const auto latest = tokens.last(static_cast<std::size_t>(size - keep));
  std::vector<std::int32_t> out(first.begin(), first.end());
  out.insert(out.end(), latest.begin(), latest.end());
  return out;
}

}  // namespace roofline
