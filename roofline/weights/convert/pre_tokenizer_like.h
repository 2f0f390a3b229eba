// Which of llama.cpp's pre-tokenizers a tokenizer behaves like: the first that
// gives its own ids for a text that tells them apart.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "roofline/text/tokenizer.h"

namespace roofline {

/// A text that pre-tokenizers cut in different ways.
std::string_view tokenizer_probe();

/// spec: the vocabulary of `wanted` with its merges, over GPT-2's letters for
/// bytes. The name for "tokenizer.ggml.pre"; nullopt when none fits. Tries the
/// tokens that the probe can be cut into only, which takes milliseconds where
/// the whole vocabulary takes seconds.
std::optional<std::string> pre_tokenizer_like(
    const Tokenizer& wanted,
    const VocabularySpec& spec);

}  // namespace roofline
