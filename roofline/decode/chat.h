// From what a person wrote to the ids of a prompt: through the chat template,
// or as it stands. Sees to it that the begin token is there once.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/text/chat_template.h"
#include "roofline/text/tokenizer.h"

namespace roofline {

/// The text as it is, for a base model to go on with: with the tokenizer's own
/// begin token unless the text writes it, and without an end token.
std::vector<std::int32_t> encode_prompt(
    const Tokenizer& tokenizer,
    std::string_view text);

/// messages: JSON array of {"role", "content", …}. Rendered with the begin of
/// an answer and encoded. options.bos_text and eos_text are filled in from the
/// tokenizer when empty. `chat_template` null means the checkpoint has none:
/// throws UnsupportedError, which says how to go on without one. Throws what
/// render() throws.
std::vector<std::int32_t> encode_chat(
    const Tokenizer& tokenizer,
    const ChatTemplate* chat_template,
    const nlohmann::ordered_json& messages,
    RenderOptions options = {});

}  // namespace roofline
