#include "roofline/text/write_tokenizer.h"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/text/pretokenizers.h"
#include "roofline/text/scored_vocabulary.h"

namespace roofline {

namespace {

using Json = nlohmann::ordered_json;

struct ByteLevel {
  bool trim_offsets = false;

  Json json() const {
    return {
        {"type", "ByteLevel"},
        {"add_prefix_space", false},
        {"trim_offsets", trim_offsets},
        {"use_regex", false}};
  }
};

Json added_tokens(const VocabularySpec& spec) {
  const std::vector<std::uint8_t> flags =
      spec.scores.empty() ? added_flags(spec) : scored_flags(spec);
  Json out = Json::array();
  for (std::size_t id = 0; id < flags.size(); ++id) {
    if ((flags[id] & RB_TOKEN_ADDED) == 0) {
      continue;
    }
    out.push_back(
        {{"id", id},
         {"content", spec.tokens[id]},
         {"single_word", false},
         {"lstrip", false},
         {"rstrip", (flags[id] & RB_TOKEN_EATS_SPACES) != 0},
         {"normalized", false},
         {"special", (flags[id] & RB_TOKEN_SPECIAL) != 0}});
  }
  return out;
}

/// Puts the begin and end tokens around a text; null when there are none.
Json frame(const VocabularySpec& spec, bool add_bos, bool add_eos) {
  Json single = Json::array();
  Json specials = Json::object();
  const auto add = [&](std::optional<std::int32_t> id) {
    const std::string& text = spec.tokens[static_cast<std::size_t>(*id)];
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    specials[text] = {
        {"id", text},
        {"ids", Json::array({*id})},
        {"tokens", Json::array({text})}};
  };
  if (add_bos && spec.bos) {
    add(spec.bos);
  }
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (add_eos && spec.eos) {
    add(spec.eos);
  }
  if (specials.empty()) {
    return nullptr;
  }
  Json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  return {
      {"type", "TemplateProcessing"},
      {"single", single},
      {"pair", pair},
      {"special_tokens", specials}};
}

Json vocab_of(const VocabularySpec& spec) {
  Json out = Json::object();
  // A look-up in an ordered object walks through all of it.
  Json::object_t::Container& entries = out.get_ref<Json::object_t&>();
  std::unordered_map<std::string_view, std::size_t> places;
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    const auto [place, fresh] = places.emplace(spec.tokens[id], entries.size());
    if (fresh) {
      entries.emplace_back(spec.tokens[id], id);
    } else {
      entries[place->second].second = id;
    }
  }
  return out;
}

Json model_of(
    const VocabularySpec& spec,
    Json merges,
    bool fallback,
    bool ignore_merges) {
  return {
      {"type", "BPE"},
      {"dropout", nullptr},
      {"unk_token",
       fallback && spec.unknown
           ? Json(spec.tokens[static_cast<std::size_t>(*spec.unknown)])
           : Json(nullptr)},
      {"continuing_subword_prefix", nullptr},
      {"end_of_word_suffix", nullptr},
      {"fuse_unk", fallback},
      {"byte_fallback", fallback},
      {"ignore_merges", ignore_merges},
      {"vocab", vocab_of(spec)},
      {"merges", std::move(merges)}};
}

Json whole(
    const VocabularySpec& spec,
    Json normalizer,
    Json pre_tokenizer,
    Json post_processor,
    Json decoder,
    Json model) {
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens(spec)},
      {"normalizer", std::move(normalizer)},
      {"pre_tokenizer", std::move(pre_tokenizer)},
      {"post_processor", std::move(post_processor)},
      {"decoder", std::move(decoder)},
      {"model", std::move(model)}};
}

Json from_merges(const VocabularySpec& spec) {
  const PreTokenizerRule rule = find_pre_tokenizer(spec.pre);
  Json steps = Json::array();
  for (const std::string& pattern : rule.patterns) {
    steps.push_back(
        {{"type", "Split"},
         {"pattern", {{"Regex", pattern}}},
         {"behavior", "Isolated"},
         {"invert", false}});
  }
  steps.push_back(ByteLevel{}.json());
  Json merges = Json::array();
  for (const std::string& merge : spec.merges) {
    const std::size_t space = merge.find(' ', 1);
    merges.push_back(
        Json::array({merge.substr(0, space), merge.substr(space + 1)}));
  }
  return whole(
      spec,
      nullptr,
      {{"type", "Sequence"}, {"pretokenizers", steps}},
      frame(
          spec,
          spec.add_bos.value_or(rule.add_bos),
          spec.add_eos.value_or(false)),
      ByteLevel{.trim_offsets = true}.json(),
      model_of(spec, std::move(merges), false, rule.ignore_merges));
}

/// Byte positions at which a character of valid UTF-8 begins, 0 left out.
std::vector<std::size_t> cuts_of(const std::string& text) {
  std::vector<std::size_t> out;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      out.push_back(i);
    }
  }
  return out;
}

/// SentencePiece merges the neighbours whose token has the highest score: the
/// same as merges listed by falling score.
Json merges_of_scores(const VocabularySpec& spec) {
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    ids.emplace(spec.tokens[id], id);
  }
  const auto normal = [&](std::size_t id) {
    return spec.types.empty() || TokenKind{spec.types[id]} == TokenKind::normal;
  };
  std::vector<std::tuple<float, std::size_t, std::size_t>> found;
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    if (!normal(id)) {
      continue;
    }
    const std::string_view text = spec.tokens[id];
    for (const std::size_t cut : cuts_of(spec.tokens[id])) {
      const auto left = ids.find(text.substr(0, cut));
      const auto right = ids.find(text.substr(cut));
      if (left != ids.end() && right != ids.end() && normal(left->second) &&
          normal(right->second)) {
        found.emplace_back(-spec.scores[id], left->second, right->second);
      }
    }
  }
  std::sort(found.begin(), found.end());
  Json out = Json::array();
  for (const auto& [score, left, right] : found) {
    out.push_back(Json::array({spec.tokens[left], spec.tokens[right]}));
  }
  return out;
}

Json from_scored(const VocabularySpec& spec) {
  const bool prefix = spec.add_space_prefix.value_or(true);
  Json decoders = Json::array(
      {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
       {{"type", "ByteFallback"}},
       {{"type", "Fuse"}}});
  if (prefix) {
    decoders.push_back(
        {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return whole(
      spec,
      Json::parse(marking_normalizer(prefix)),
      nullptr,
      frame(spec, spec.add_bos.value_or(true), spec.add_eos.value_or(false)),
      {{"type", "Sequence"}, {"decoders", decoders}},
      model_of(spec, merges_of_scores(spec), true, false));
}

}  // namespace

std::string tokenizer_json(const VocabularySpec& spec) {
  require_consistent(spec, "The vocabulary");
  if (spec.model == "gpt2") {
    return from_merges(spec).dump(1);
  }
  if (spec.model == "llama" && !spec.scores.empty()) {
    return from_scored(spec).dump(1);
  }
  fail<UnsupportedError>(
      fmt::format(
          "A vocabulary of the kind \"{}\" can't be written as tokenizer.json",
          spec.model),
      "Roofline writes gpt2 (byte-pair merges) and llama (scores)",
      "Take the tokenizer's files from the model's own folder");
}

std::string tokenizer_config_json(
    const VocabularySpec& spec,
    const std::optional<std::string>& chat_template,
    std::int64_t context_tokens) {
  Json out = {
      {"tokenizer_class", "PreTrainedTokenizerFast"},
      {"clean_up_tokenization_spaces", false},
      {"model_max_length", context_tokens}};
  const auto name = [&](const char* key, std::optional<std::int32_t> id) {
    if (id && static_cast<std::size_t>(*id) < spec.tokens.size()) {
      out[key] = spec.tokens[static_cast<std::size_t>(*id)];
    }
  };
  name("bos_token", spec.bos);
  name("eos_token", spec.eos);
  name("unk_token", spec.unknown);
  name("pad_token", spec.padding);
  if (chat_template) {
    out["chat_template"] = *chat_template;
  }
  return out.dump(2) + "\n";
}

}  // namespace roofline
