// Changes to the logits that depend on what was said: repetition, presence and
// frequency penalties, and the user's own biases.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "roofline/decode/sampling.h"

namespace roofline {

/// How often each token occurs in a window; the cost of a use is that of the
/// window, not of the vocabulary.
class TokenCounts {
 public:
  /// Counts `tokens`. Throws BugError when one lies outside [0, vocab).
  void count(std::span<const std::int32_t> tokens, std::size_t vocab);
  /// The tokens that occur, each once, in order of first occurrence.
  std::span<const std::int32_t> distinct() const { return distinct_; }
  int of(std::int32_t token) const { return counts_[token]; }

 private:
  std::vector<int> counts_;
  std::vector<std::int32_t> distinct_;
};

/// The last `window` tokens of `history`; all of it when window is −1.
std::span<const std::int32_t> last_tokens(
    std::span<const std::int32_t> history,
    int window);

/// Divides positive and multiplies negative logits of tokens that occur
/// (Keskar et al. 2019, CTRL; as `transformers` does).
void apply_repetition_penalty(
    std::span<float> logits,
    const TokenCounts& counts,
    float penalty);

/// Subtracts presence + count · frequency (OpenAI's definition).
void apply_count_penalties(
    std::span<float> logits,
    const TokenCounts& counts,
    float presence,
    float frequency);

/// Adds biases; −inf bans. Throws UserError for a token outside the vocabulary.
void apply_logit_bias(
    std::span<float> logits,
    const std::map<std::int32_t, float>& bias);

}  // namespace roofline
