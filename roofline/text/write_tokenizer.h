// A vocabulary as a tokenizer.json and a tokenizer_config.json, the way other
// tools read them. In: what a GGUF file carries. The ids are the same.
#pragma once

#include <optional>
#include <string>

#include "roofline/text/tokenizer.h"

namespace roofline {

/// The text of a tokenizer.json. Throws UnsupportedError for a vocabulary that
/// is neither GPT-2's nor Llama's kind, and for an unknown pre-tokenizer.
std::string tokenizer_json(const VocabularySpec& spec);

/// The text of a tokenizer_config.json. context_tokens: what the model was
/// made for.
std::string tokenizer_config_json(
    const VocabularySpec& spec,
    const std::optional<std::string>& chat_template,
    std::int64_t context_tokens);

}  // namespace roofline
