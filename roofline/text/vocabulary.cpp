#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/text/crate_tokenizer.h"
#include "roofline/text/pretokenizers.h"
#include "roofline/text/scored_vocabulary.h"

namespace roofline {

namespace {

constexpr std::string_view kSource = "The vocabulary";

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
        "Fetch the model again");
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
    rules = marked_space_rules(false);
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

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_vocabulary(
    const VocabularySpec& spec) {
  require_consistent(spec, kSource);
  std::unique_ptr<CrateTokenizer> tokenizer;
  if (spec.model == "gpt2") {
    tokenizer = from_merges(spec, spec.pre);
  } else if (spec.model == "gemma4") {
    tokenizer = from_merges(spec, "gemma4");
  } else if (spec.model == "llama") {
    tokenizer = from_scores(spec, {});
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
