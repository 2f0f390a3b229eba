// How the texts of tokens become text again: byte-level alphabets,
// SentencePiece spaces, byte tokens, the space that an encoder put in front.
// The rules are read from the decoder part of a tokenizer.json or set for a
// vocabulary.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/text/utf8.h"

namespace roofline {

struct DecodeRules {
  /// Each character stands for one byte (GPT-2's alphabet).
  bool byte_level = false;
  /// Tokens like <0x0A> stand for that byte.
  bool byte_fallback = false;
  /// In order, in every token: {"▁", " "}.
  std::vector<std::pair<std::string, std::string>> replacements;
  /// In the first token these vanish instead (Metaspace's replacement).
  std::string drop_in_first;
  /// At most so many of these characters vanish at the start of the text.
  int strip_start = 0;
  char strip = ' ';
  /// Between tokens.
  std::string separator;
};

/// Reads a tokenizer.json's "decoder". nullopt: it can't be done token by
/// token (WordPiece, CTC, ...).
std::optional<DecodeRules> read_decode_rules(const nlohmann::json& decoder);

/// One text being decoded, token by token; memory doesn't grow.
class PieceStream {
 public:
  explicit PieceStream(const DecodeRules& rules) : rules_(&rules) {}

  /// added: the token lies outside the model's alphabet.
  void push(std::string_view token, bool added, std::string& out);
  void flush(std::string& out) { gate_.flush(out); }

 private:
  std::string bytes_of(std::string_view token, bool added);

  const DecodeRules* rules_;
  Utf8Gate gate_;
  bool first_ = true;
  int stripped_ = 0;
  bool stripping_ = true;
};

}  // namespace roofline
