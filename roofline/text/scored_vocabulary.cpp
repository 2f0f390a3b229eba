#include "roofline/text/scored_vocabulary.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

constexpr std::string_view kFetchAgain = "Fetch the model again";

/// Tokens that end an answer are control tokens even where a converter marked
/// them as plain text.
constexpr std::string_view kAlwaysControl[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",
};

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const auto byte =
          i < count ? static_cast<unsigned char>(bytes[at + i]) : 0;
      group = group << 8 | byte;
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= count ? kDigits[group >> (18 - 6 * i) & 63] : '=';
    }
  }
  return out;
}

/// Phi-3's special tokens swallow the white space that follows them; its GGUF
/// files don't say so. This token is only in its vocabulary.
bool swallows_spaces(const VocabularySpec& spec) {
  return std::find(
             spec.tokens.begin(),
             spec.tokens.end(),
             "<|placeholder1|>") != spec.tokens.end();
}

void mark_swallowing_tokens(
    const VocabularySpec& spec,
    std::vector<std::uint8_t>& flags) {
  for (std::size_t id = 0; id < flags.size(); ++id) {
    const std::string& token = spec.tokens[id];
    if (flags[id] != 0 && token != "<unk>" && token != "<s>" &&
        token != "<|endoftext|>") {
      flags[id] |= RB_TOKEN_EATS_SPACES;
    }
  }
}

}  // namespace

void require_consistent(const VocabularySpec& spec, std::string_view source) {
  const std::size_t count = spec.tokens.size();
  const auto check = [&](bool good, const std::string& why) {
    if (!good) {
      fail<CheckpointError>(
          fmt::format("{} is broken", source),
          why,
          kFetchAgain);
    }
  };
  check(count > 0, "It has no tokens");
  check(
      spec.scores.empty() || spec.scores.size() == count,
      fmt::format("{} tokens but {} scores", count, spec.scores.size()));
  check(
      spec.types.empty() || spec.types.size() == count,
      fmt::format("{} tokens but {} types", count, spec.types.size()));
  const auto check_id = [&](const std::optional<std::int32_t>& id,
                            std::string_view role) {
    check(
        !id || (*id >= 0 && static_cast<std::size_t>(*id) < count),
        fmt::format(
            "Its {} token is {} of {} tokens",
            role,
            id.value_or(0),
            count));
  };
  check_id(spec.bos, "begin");
  check_id(spec.eos, "end");
}

std::vector<std::uint8_t> added_flags(const VocabularySpec& spec) {
  std::vector<std::uint8_t> flags(spec.tokens.size(), 0);
  for (std::size_t id = 0; id < flags.size(); ++id) {
    const auto kind =
        spec.types.empty() ? TokenKind::normal : TokenKind{spec.types[id]};
    const bool ends_answer = std::find(
                                 std::begin(kAlwaysControl),
                                 std::end(kAlwaysControl),
                                 spec.tokens[id]) != std::end(kAlwaysControl);
    if (kind == TokenKind::control || kind == TokenKind::unknown ||
        ends_answer) {
      flags[id] = RB_TOKEN_ADDED | RB_TOKEN_SPECIAL;
    } else if (kind == TokenKind::user_defined) {
      flags[id] = RB_TOKEN_ADDED;
    }
  }
  return flags;
}

std::vector<std::uint8_t> scored_flags(const VocabularySpec& spec) {
  std::vector<std::uint8_t> flags = added_flags(spec);
  if (swallows_spaces(spec)) {
    mark_swallowing_tokens(spec, flags);
  }
  return flags;
}

DecodeRules marked_space_rules(bool prefix) {
  DecodeRules rules;
  rules.byte_fallback = true;
  rules.replacements = {{"▁", " "}};
  rules.strip_start = prefix ? 1 : 0;
  return rules;
}

std::string marking_normalizer(bool prefix, const ScoredOptions& options) {
  nlohmann::json steps = nlohmann::json::array();
  if (!options.charsmap.empty()) {
    steps.push_back(
        {{"type", "Precompiled"},
         {"precompiled_charsmap", base64(options.charsmap)}});
  }
  if (options.collapse_spaces) {
    steps.push_back(
        {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
    steps.push_back(
        {{"type", "Replace"},
         {"pattern", {{"Regex", " {2,}"}}},
         {"content", " "}});
  }
  if (prefix && !options.prefix_once) {
    steps.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
  }
  steps.push_back(
      {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}});
  return nlohmann::json{{"type", "Sequence"}, {"normalizers", steps}}.dump();
}

std::unique_ptr<CrateTokenizer> from_scores(
    const VocabularySpec& spec,
    const ScoredOptions& options) {
  if (spec.scores.empty()) {
    fail<CheckpointError>(
        fmt::format("{} has no scores", options.source),
        "A SentencePiece tokenizer can't work without them",
        kFetchAgain);
  }
  const bool prefix = spec.add_space_prefix.value_or(true);
  TokenizerParts parts;
  parts.kind = options.unigram ? RB_UNIGRAM : RB_BPE_SCORES;
  parts.tokens.assign(spec.tokens.begin(), spec.tokens.end());
  parts.scores = spec.scores;
  parts.added = scored_flags(spec);
  parts.unknown = spec.unknown.value_or(-1);
  parts.byte_fallback = options.byte_fallback;
  parts.normalizer = marking_normalizer(prefix, options);
  parts.space_in_front = prefix && options.prefix_once;
  return std::make_unique<CrateTokenizer>(
      build_tokenizer(parts, options.source),
      marked_space_rules(prefix),
      CrateTokenizer::Frame{
          .bos = spec.add_bos.value_or(true),
          .eos = spec.add_eos.value_or(false)});
}

}  // namespace roofline
