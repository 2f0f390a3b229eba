// Which pre-tokenizer a GGUF file's `tokenizer.ggml.pre` names: the regular
// expressions that cut a text into words, one after the other, before BPE. The
// names are llama.cpp's, the expressions those of the models' tokenizer.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace roofline {

struct PreTokenizerRule {
  /// Each cuts every piece that the ones before it left.
  std::vector<std::string> patterns;
  /// A word that is a token stays whole, whatever the merges say.
  bool ignore_merges = false;
  /// A text begins with the bos token unless the file says otherwise.
  bool add_bos = false;
  /// The merges are over text with U+2581 for spaces, not over GPT-2's bytes.
  bool spaces_marked = false;
};

/// Throws UnsupportedError naming the nearest when `name` is unknown.
PreTokenizerRule find_pre_tokenizer(std::string_view name);

}  // namespace roofline
