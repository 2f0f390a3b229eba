// A folder's tokenizer as the vocabulary of a GGUF file: tokens with their
// kinds, merges or scores, the pre-tokenizer's name, the tokens that begin and
// end a text, the chat template.
#pragma once

#include <filesystem>

#include "roofline/weights/convert/gguf_writer.h"

namespace roofline {

/// vocab: rows of the embedding; ids that the tokenizer lacks are filled up.
/// Reads tokenizer.json, or tokenizer.model where that is alone. The
/// pre-tokenizer is found by behaviour: the first of llama.cpp's that gives the
/// folder's own ids for a probe text. Throws CheckpointError when there is no
/// tokenizer, UnsupportedError for one that GGUF has no form for.
GgufMetadata gguf_vocabulary_of(
    const std::filesystem::path& folder,
    std::int64_t vocab);

}  // namespace roofline
