#include "roofline/text/token_files.h"

#include <map>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/mapped_file.h"
#include "roofline/text/scored_vocabulary.h"

namespace roofline {

namespace {

nlohmann::json read_object(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) ||
      std::filesystem::file_size(path, error) == 0) {
    return nlohmann::json::object();
  }
  const MappedFile file(path);
  const auto bytes = file.bytes();
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  auto object =
      nlohmann::json::parse(text, text + bytes.size(), nullptr, false);
  if (!object.is_object()) {
    fail<CheckpointError>(
        path.string() + " is no JSON object",
        "",
        "Fetch the file again");
  }
  return object;
}

/// A token is written as its text, or as an object with its text in "content".
std::string token_in(const nlohmann::json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) {
    return {};
  }
  if (found->is_string()) {
    return found->get<std::string>();
  }
  if (found->is_object() && found->contains("content") &&
      found->at("content").is_string()) {
    return found->at("content").get<std::string>();
  }
  return {};
}

std::optional<bool> flag_in(const nlohmann::json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || !found->is_boolean()) {
    return std::nullopt;
  }
  return found->get<bool>();
}

struct AddedToken {
  std::string text;
  TokenKind kind = TokenKind::control;
};

}  // namespace

TokenFiles::TokenFiles(const std::filesystem::path& folder)
    : config_(read_object(folder / "tokenizer_config.json")),
      special_(read_object(folder / "special_tokens_map.json")),
      added_(read_object(folder / "added_tokens.json")) {}

void TokenFiles::name_ends(CrateTokenizer& tokenizer) const {
  for (const nlohmann::json* file : {&config_, &special_}) {
    const auto bos = tokenizer.token_id(token_in(*file, "bos_token"));
    const auto eos = tokenizer.token_id(token_in(*file, "eos_token"));
    if (bos && !tokenizer.bos) {
      tokenizer.set_bos(*bos);
    }
    if (eos && !tokenizer.eos) {
      tokenizer.set_eos(*eos);
    }
  }
}

void TokenFiles::append_added_tokens(VocabularySpec& spec) const {
  std::map<std::int64_t, AddedToken> found;
  for (const auto& [text, id] : added_.items()) {
    if (id.is_number_integer()) {
      found[id.get<std::int64_t>()] = {text};
    }
  }
  const auto decoder = config_.find("added_tokens_decoder");
  if (decoder != config_.end() && decoder->is_object()) {
    for (const auto& [id, token] : decoder->items()) {
      const bool special = flag_in(token, "special").value_or(true);
      const auto kind = special ? TokenKind::control : TokenKind::user_defined;
      found[std::strtoll(id.c_str(), nullptr, 10)] = {
          token_in(*decoder, id.c_str()),
          kind};
    }
  }
  for (const auto& [id, token] : found) {
    if (id < static_cast<std::int64_t>(spec.tokens.size())) {
      continue;
    }
    // A gap would shift what follows; files with one are not known.
    if (id != static_cast<std::int64_t>(spec.tokens.size())) {
      fail<CheckpointError>(
          fmt::format("The added token \"{}\" can't be placed", token.text),
          fmt::format(
              "Its id is {}, but the vocabulary has {} tokens",
              id,
              spec.tokens.size()),
          "Fetch the tokenizer's files again");
    }
    spec.tokens.push_back(token.text);
    spec.scores.push_back(0);
    spec.types.push_back(static_cast<std::int32_t>(token.kind));
  }
}

void TokenFiles::apply_frame(VocabularySpec& spec) const {
  spec.add_bos = flag_in(config_, "add_bos_token");
  spec.add_eos = flag_in(config_, "add_eos_token");
}

}  // namespace roofline
