// Which tokens end a DRY run: those whose text holds one of the breakers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "roofline/text/tokenizer.h"

namespace roofline {

/// Ids below `vocab` whose own text contains one of `breakers`, rising. Decodes
/// every token once: call it once a model, not once a prompt.
std::vector<std::int32_t> dry_breaker_tokens(
    const Tokenizer& tokenizer,
    std::int32_t vocab,
    std::span<const std::string> breakers);

}  // namespace roofline
