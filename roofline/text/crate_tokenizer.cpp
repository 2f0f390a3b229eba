#include "roofline/text/crate_tokenizer.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/text/utf8.h"

namespace roofline {

namespace {

/// Strings joined as rb_strings wants them.
struct JoinedStrings {
  std::string text;
  std::vector<std::uint64_t> ends;

  explicit JoinedStrings(const std::vector<std::string_view>& strings) {
    std::size_t total = 0;
    for (std::string_view string : strings) {
      total += string.size();
    }
    text.reserve(total);
    ends.reserve(strings.size());
    for (std::string_view string : strings) {
      text += string;
      ends.push_back(text.size());
    }
  }
  rb_strings view() const { return {view_of(text), ends.data(), ends.size()}; }
};

constexpr CallContext kTokenizing{"The text can't be tokenized", ""};
constexpr CallContext kReading{"The tokenizer can't be read", ""};

}  // namespace

CrateTokenizer::CrateTokenizer(
    TokenizerHandle handle,
    std::optional<DecodeRules> rules,
    Frame frame)
    : handle_(std::move(handle)), rules_(std::move(rules)), frame_(frame) {}

std::vector<std::int32_t> CrateTokenizer::encode(
    std::string_view text,
    Specials specials) const {
  require_utf8(text, "tokenize: the text");
  const bool add = specials == Specials::add;
  rb_ids found{nullptr, 0};
  BridgeBuffer error;
  require_ok(
      rb_tokenizer_encode(
          handle_.get(),
          view_of(text),
          add && frame_.by_handle,
          &found,
          error.out()),
      error,
      kTokenizing);
  std::vector<std::int32_t> ids;
  ids.reserve(found.size + 2);
  if (add && frame_.bos && bos) {
    ids.push_back(*bos);
  }
  ids.insert(ids.end(), found.data, found.data + found.size);
  rb_ids_free(found);
  if (add && frame_.eos && eos) {
    ids.push_back(*eos);
  }
  return ids;
}

TokenPiece CrateTokenizer::piece(std::int32_t id) const {
  TokenPiece piece;
  if (id < 0) {
    return piece;
  }
  std::int32_t flags = 0;
  BridgeBuffer text, error;
  require_ok(
      rb_tokenizer_token(
          handle_.get(),
          static_cast<std::uint32_t>(id),
          &flags,
          text.out(),
          error.out()),
      error,
      kReading);
  piece.text = text.text();
  piece.known = flags >= 0;
  piece.added = piece.known && (flags & RB_TOKEN_ADDED) != 0;
  piece.special = piece.known && (flags & RB_TOKEN_SPECIAL) != 0;
  return piece;
}

std::string CrateTokenizer::decode(
    std::span<const std::int32_t> ids,
    bool keep_specials) const {
  std::string out;
  if (!rules_) {
    const std::vector<std::uint32_t> wide(ids.begin(), ids.end());
    BridgeBuffer text, error;
    require_ok(
        rb_tokenizer_decode(
            handle_.get(),
            wide.data(),
            wide.size(),
            !keep_specials,
            text.out(),
            error.out()),
        error,
        {"The ids can't be decoded", ""});
    return std::string(text.text());
  }
  PieceStream stream(*rules_);
  for (std::int32_t id : ids) {
    const TokenPiece token = piece(id);
    if (token.known && (keep_specials || !token.special)) {
      stream.push(token.text, token.added, out);
    }
  }
  stream.flush(out);
  return out;
}

std::int32_t CrateTokenizer::vocab_size() const {
  return static_cast<std::int32_t>(rb_tokenizer_size(handle_.get()));
}

std::optional<std::int32_t> CrateTokenizer::token_id(
    std::string_view token) const {
  std::int64_t id = -1;
  BridgeBuffer error;
  require_ok(
      rb_tokenizer_token_id(handle_.get(), view_of(token), &id, error.out()),
      error,
      kReading);
  return id < 0 ? std::nullopt : std::optional(static_cast<std::int32_t>(id));
}

std::string CrateTokenizer::token_text(std::int32_t id) const {
  TokenPiece token = piece(id);
  if (!token.known) {
    fail<UserError>(
        fmt::format("There is no token {}", id),
        fmt::format("The vocabulary has {} tokens", vocab_size()),
        "Check that the ids belong to this model");
  }
  return std::move(token.text);
}

void CrateTokenizer::set_bos(std::int32_t id) {
  bos = id;
  bos_text = piece(id).text;
}

void CrateTokenizer::set_eos(std::int32_t id) {
  eos = id;
  eos_text = piece(id).text;
}

TokenizerHandle build_tokenizer(
    const TokenizerParts& parts,
    std::string_view source) {
  const JoinedStrings tokens(parts.tokens);
  const JoinedStrings merges(parts.merges);
  const rb_parts plain{
      parts.kind,
      tokens.view(),
      parts.scores.empty() ? nullptr : parts.scores.data(),
      parts.added.empty() ? nullptr : parts.added.data(),
      merges.view(),
      parts.unknown,
      parts.byte_fallback,
      parts.ignore_merges,
      parts.space_in_front,
      view_of(parts.normalizer),
      view_of(parts.pre_tokenizer)};
  rb_tokenizer* handle = nullptr;
  BridgeBuffer error;
  require_ok(
      rb_tokenizer_from_parts(&plain, &handle, error.out()),
      error,
      {fmt::format("{} is broken", source), "Fetch the model again"});
  return TokenizerHandle(handle);
}

}  // namespace roofline
