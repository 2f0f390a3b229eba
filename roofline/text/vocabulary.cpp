#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/text/crate_tokenizer.h"
#include "roofline/text/pretokenizers.h"

namespace roofline {

namespace {

constexpr std::string_view kSource = "The vocabulary";
constexpr std::string_view kFetchAgain = "Fetch the model again";

/// GGML's kinds of token.
enum GgmlToken : std::int32_t {
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kByte = 6,
};

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

void require_consistent(const VocabularySpec& spec) {
  const std::size_t count = spec.tokens.size();
  const auto check = [&](bool good, const std::string& why) {
    if (!good) {
      fail<CheckpointError>(
          fmt::format("{} is broken", kSource),
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
    const std::int32_t type = spec.types.empty() ? 0 : spec.types[id];
    const bool ends_answer = std::find(
                                 std::begin(kAlwaysControl),
                                 std::end(kAlwaysControl),
                                 spec.tokens[id]) != std::end(kAlwaysControl);
    if (type == kControl || type == kUnknown || ends_answer) {
      flags[id] = RB_TOKEN_ADDED | RB_TOKEN_SPECIAL;
    } else if (type == kUserDefined) {
      flags[id] = RB_TOKEN_ADDED;
    }
  }
  return flags;
}

std::string pre_tokenizer_json(const PreTokenizerRule& rule) {
  nlohmann::json steps = nlohmann::json::array();
  for (const std::string& pattern : rule.patterns) {
    steps.push_back(
        {{"type", "Split"},
         {"pattern", {{"Regex", pattern}}},
         {"behavior", "Isolated"},
         {"invert", false}});
  }
  if (!rule.spaces_marked) {
    steps.push_back(
        {{"type", "ByteLevel"},
         {"add_prefix_space", false},
         {"trim_offsets", false},
         {"use_regex", false}});
  }
  const nlohmann::json sequence = {
      {"type", "Sequence"},
      {"pretokenizers", steps}};
  return sequence.dump();
}

const nlohmann::json kMarkSpaces = {
    {"type", "Replace"},
    {"pattern", {{"String", " "}}},
    {"content", "▁"}};

/// Each stretch of text begins with a marked space, and spaces are marked.
std::string marking_normalizer(bool prefix) {
  if (!prefix) {
    return kMarkSpaces.dump();
  }
  const nlohmann::json prepend = {{"type", "Prepend"}, {"prepend", "▁"}};
  const nlohmann::json sequence = {
      {"type", "Sequence"},
      {"normalizers", nlohmann::json::array({prepend, kMarkSpaces})}};
  return sequence.dump();
}

DecodeRules marked_rules(bool prefix) {
  DecodeRules rules;
  rules.byte_fallback = true;
  rules.replacements = {{"▁", " "}};
  rules.strip_start = prefix ? 1 : 0;
  return rules;
}

template <class T>
std::vector<std::string_view> views_of(const std::vector<T>& strings) {
  return {strings.begin(), strings.end()};
}

std::unique_ptr<CrateTokenizer> from_merges(
    const VocabularySpec& spec,
    std::string_view pre) {
  const PreTokenizerRule rule = find_pre_tokenizer(pre);
  if (spec.merges.empty()) {
    fail<CheckpointError>(
        "The vocabulary has no merges",
        "A byte-pair tokenizer can't work without them",
        kFetchAgain);
  }
  TokenizerParts parts;
  parts.kind = RB_BPE_MERGES;
  parts.tokens = views_of(spec.tokens);
  parts.merges = views_of(spec.merges);
  parts.added = added_flags(spec);
  parts.ignore_merges = rule.ignore_merges;
  parts.pre_tokenizer = pre_tokenizer_json(rule);
  DecodeRules rules;
  rules.byte_level = true;
  if (rule.spaces_marked) {
    parts.byte_fallback = true;
    parts.unknown = spec.unknown.value_or(-1);
    parts.normalizer = marking_normalizer(false);
    rules = marked_rules(false);
  }
  // Gemma's files say add_bos_token = false, and the models need it.
  const bool add_bos = rule.spaces_marked && pre == "gemma4"
                           ? true
                           : spec.add_bos.value_or(rule.add_bos);
  return std::make_unique<CrateTokenizer>(
      build_tokenizer(parts, kSource),
      rules,
      CrateTokenizer::Frame{
          .bos = add_bos,
          .eos = spec.add_eos.value_or(false)});
}

/// Phi-3's special tokens swallow the white space that follows them; its GGUF
/// files don't say so. These tokens are only in its vocabulary.
bool swallows_spaces(const VocabularySpec& spec) {
  return std::find(
             spec.tokens.begin(),
             spec.tokens.end(),
             "<|placeholder1|>") != spec.tokens.end();
}

std::unique_ptr<CrateTokenizer> from_scores(const VocabularySpec& spec) {
  if (spec.scores.empty()) {
    fail<CheckpointError>(
        "The vocabulary has no scores",
        "A SentencePiece tokenizer can't work without them",
        kFetchAgain);
  }
  const bool prefix = spec.add_space_prefix.value_or(true);
  TokenizerParts parts;
  parts.kind = RB_BPE_SCORES;
  parts.tokens = views_of(spec.tokens);
  parts.scores = spec.scores;
  parts.added = added_flags(spec);
  if (swallows_spaces(spec)) {
    for (std::size_t id = 0; id < parts.added.size(); ++id) {
      const std::string& token = spec.tokens[id];
      if (parts.added[id] != 0 && token != "<unk>" && token != "<s>" &&
          token != "<|endoftext|>") {
        parts.added[id] |= RB_TOKEN_EATS_SPACES;
      }
    }
  }
  parts.unknown = spec.unknown.value_or(-1);
  parts.byte_fallback = true;
  parts.normalizer = marking_normalizer(prefix);
  return std::make_unique<CrateTokenizer>(
      build_tokenizer(parts, kSource),
      marked_rules(prefix),
      CrateTokenizer::Frame{
          .bos = spec.add_bos.value_or(true),
          .eos = spec.add_eos.value_or(false)});
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_vocabulary(
    const VocabularySpec& spec) {
  require_consistent(spec);
  std::unique_ptr<CrateTokenizer> tokenizer;
  if (spec.model == "gpt2") {
    tokenizer = from_merges(spec, spec.pre);
  } else if (spec.model == "gemma4") {
    tokenizer = from_merges(spec, "gemma4");
  } else if (spec.model == "llama") {
    tokenizer = from_scores(spec);
  } else {
    fail<UnsupportedError>(
        fmt::format(
            "Vocabularies of the kind \"{}\" can't be read",
            spec.model),
        "Roofline knows gpt2 and gemma4 (byte-pair merges) and llama "
        "(SentencePiece scores)",
        "Use a model folder with its tokenizer.json");
  }
  if (spec.bos) {
    tokenizer->set_bos(*spec.bos);
  }
  if (spec.eos) {
    tokenizer->set_eos(*spec.eos);
  }
  return tokenizer;
}

}  // namespace roofline
