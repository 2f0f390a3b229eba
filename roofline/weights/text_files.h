// The tokenizer and the chat template that lie beside a folder's weights or
// inside a GGUF file.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "roofline/text/tokenizer.h"
#include "roofline/weights/gguf.h"

namespace roofline {

/// tokenizer.json, else tokenizer.model. Throws CheckpointError naming the
/// missing files.
std::unique_ptr<Tokenizer> folder_tokenizer(
    const std::filesystem::path& folder);

/// chat_template.jinja, else chat_template.json, else the one in
/// tokenizer_config.json (of several the one named "default").
std::optional<std::string> folder_chat_template(
    const std::filesystem::path& folder);

/// The vocabulary of a GGUF file as plain data. Throws CheckpointError when it
/// has none.
VocabularySpec gguf_vocabulary(const GgufFile& file);

std::optional<std::string> gguf_chat_template(const GgufFile& file);

/// The one .gguf file of a folder; empty when there is none. Throws UserError
/// when there are several.
std::filesystem::path only_gguf_in(const std::filesystem::path& folder);

}  // namespace roofline
