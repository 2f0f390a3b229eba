// The Tokenizer over a handle of the bridge. The factories (tokenizer_json.cpp,
// sentencepiece.cpp, vocabulary.cpp) make the handle and set what begins and
// ends a text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/text/bridge_call.h"
#include "roofline/text/decode_rules.h"
#include "roofline/text/tokenizer.h"

namespace roofline {

struct TokenizerDeleter {
  void operator()(rb_tokenizer* handle) const { rb_tokenizer_free(handle); }
};
using TokenizerHandle = std::unique_ptr<rb_tokenizer, TokenizerDeleter>;

/// One token as the decoder sees it.
struct TokenPiece {
  std::string text;
  bool known = false;
  bool added = false;
  bool special = false;
};

class CrateTokenizer : public Tokenizer {
 public:
  /// What Specials::add does.
  struct Frame {
    /// The handle's own post-processor adds them (tokenizer.json).
    bool by_handle = false;
    bool bos = false;
    bool eos = false;
  };

  /// rules: nullopt: only the handle can decode.
  CrateTokenizer(
      TokenizerHandle handle,
      std::optional<DecodeRules> rules,
      Frame frame);

  std::vector<std::int32_t> encode(std::string_view text, Specials specials)
      const override;
  std::string decode(
      std::span<const std::int32_t> ids,
      bool keep_specials = false) const override;
  std::int32_t vocab_size() const override;
  std::optional<std::int32_t> token_id(std::string_view token) const override;
  std::string token_text(std::int32_t id) const override;

  TokenPiece piece(std::int32_t id) const;
  const std::optional<DecodeRules>& decode_rules() const { return rules_; }
  Frame& frame() { return frame_; }
  /// Sets bos or eos by id, and its text.
  void set_bos(std::int32_t id);
  void set_eos(std::int32_t id);

 private:
  TokenizerHandle handle_;
  std::optional<DecodeRules> rules_;
  Frame frame_;
};

/// A vocabulary on its way to the bridge.
struct TokenizerParts {
  std::int32_t kind = RB_BPE_MERGES;
  std::vector<std::string_view> tokens;
  std::span<const float> scores;
  std::vector<std::uint8_t> added;  ///< rb_token_flag of each token
  std::vector<std::string_view> merges;
  std::int64_t unknown = -1;
  bool byte_fallback = false;
  bool ignore_merges = false;
  bool space_in_front = false;
  std::string normalizer;  ///< JSON as in a tokenizer.json, or empty
  std::string pre_tokenizer;
};

/// Throws CheckpointError naming `source` when the parts don't fit together.
TokenizerHandle build_tokenizer(
    const TokenizerParts& parts,
    std::string_view source);

}  // namespace roofline
