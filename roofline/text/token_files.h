// The small files that lie beside a tokenizer and say which tokens begin and
// end a text and which were added later: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json. Each may be missing.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

#include "roofline/text/crate_tokenizer.h"

namespace roofline {

class TokenFiles {
 public:
  /// Throws CheckpointError when one of them is no JSON object.
  explicit TokenFiles(const std::filesystem::path& folder);

  /// Sets bos and eos where a file names them.
  void name_ends(CrateTokenizer& tokenizer) const;
  /// Adds the tokens whose ids lie behind the vocabulary's.
  void append_added_tokens(VocabularySpec& spec) const;
  /// Reads add_bos_token and add_eos_token.
  void apply_frame(VocabularySpec& spec) const;

 private:
  nlohmann::json config_, special_, added_;
};

}  // namespace roofline
