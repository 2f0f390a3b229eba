#include "roofline/decode/penalties.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

void TokenCounts::count(
    std::span<const std::int32_t> tokens,
    std::size_t vocab) {
  for (const std::int32_t token : distinct_) {
    counts_[token] = 0;
  }
  distinct_.clear();
  counts_.resize(vocab, 0);
  for (const std::int32_t token : tokens) {
    if (token < 0 || static_cast<std::size_t>(token) >= vocab) {
      fail<BugError>(
          fmt::format("sampling: the history holds token {}", token),
          fmt::format("The vocabulary has {} tokens", vocab),
          "Check that the tokenizer belongs to this model");
    }
    if (counts_[token]++ == 0) {
      distinct_.push_back(token);
    }
  }
}

std::span<const std::int32_t> last_tokens(
    std::span<const std::int32_t> history,
    int window) {
  if (window < 0 || static_cast<std::size_t>(window) >= history.size()) {
    return history;
  }
  return history.last(static_cast<std::size_t>(window));
}

void apply_repetition_penalty(
    std::span<float> logits,
    const TokenCounts& counts,
    float penalty) {
  for (const std::int32_t token : counts.distinct()) {
    float& logit = logits[token];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

void apply_count_penalties(
    std::span<float> logits,
    const TokenCounts& counts,
    float presence,
    float frequency) {
  for (const std::int32_t token : counts.distinct()) {
    logits[token] -=
        presence + static_cast<float>(counts.of(token)) * frequency;
  }
}

void apply_logit_bias(
    std::span<float> logits,
    const std::map<std::int32_t, float>& bias) {
  for (const auto& [token, value] : bias) {
    if (token < 0 || static_cast<std::size_t>(token) >= logits.size()) {
      fail<UserError>(
          fmt::format("logit_bias names token {}", token),
          fmt::format("The vocabulary ends at {}", logits.size() - 1),
          "Use ids that `roofline tokenize MODEL --ids` prints");
    }
    logits[token] += value;
  }
}

}  // namespace roofline
