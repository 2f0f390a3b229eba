// A tokenizer from pieces with scores: SentencePiece's two algorithms, as GGUF
// files and tokenizer.model files carry them.
#pragma once

#include <memory>
#include <string>

#include "roofline/text/crate_tokenizer.h"

namespace roofline {

/// GGML's kinds of token, which are SentencePiece's.
enum class TokenKind : std::int32_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6,
};

struct ScoredOptions {
  /// The most probable cut rather than the best merge first.
  bool unigram = false;
  /// SentencePiece's compiled normalization rules; may be empty.
  std::string charsmap;
  /// White space is trimmed, and runs of it become one space.
  bool collapse_spaces = false;
  bool byte_fallback = true;
  /// The space in front is put before the text only, not before every stretch
  /// between special tokens.
  bool prefix_once = false;
  /// What errors call the vocabulary.
  std::string source = "The vocabulary";
};

/// Throws CheckpointError when counts or ids contradict each other.
void require_consistent(const VocabularySpec& spec, std::string_view source);

/// rb_token_flag of each token.
std::vector<std::uint8_t> added_flags(const VocabularySpec& spec);

/// The same for a vocabulary with scores, where some tokens swallow the white
/// space behind them.
std::vector<std::uint8_t> scored_flags(const VocabularySpec& spec);

/// Decodes marked spaces, byte tokens and the space put in front.
DecodeRules marked_space_rules(bool prefix);

/// The JSON of the normalizer that marks spaces with U+2581.
std::string marking_normalizer(bool prefix, const ScoredOptions& options = {});

/// bos and eos are not set yet.
std::unique_ptr<CrateTokenizer> from_scores(
    const VocabularySpec& spec,
    const ScoredOptions& options);

}  // namespace roofline
