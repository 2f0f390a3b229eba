#include "roofline/decode/dry_breakers.h"

#include <algorithm>

namespace roofline {

std::vector<std::int32_t> dry_breaker_tokens(
    const Tokenizer& tokenizer,
    std::int32_t vocab,
    std::span<const std::string> breakers) {
  std::vector<std::int32_t> found;
  const std::int32_t end = std::min(vocab, tokenizer.vocab_size());
  for (std::int32_t id = 0; id < end && !breakers.empty(); ++id) {
    const std::string text = tokenizer.decode({&id, 1}, true);
    const bool breaks =
        std::any_of(breakers.begin(), breakers.end(), [&](const auto& breaker) {
          return text.find(breaker) != std::string::npos;
        });
    if (breaks) {
      found.push_back(id);
    }
  }
  return found;
}

}  // namespace roofline
