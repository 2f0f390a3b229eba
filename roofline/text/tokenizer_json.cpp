#include <array>

#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/mapped_file.h"
#include "roofline/text/crate_tokenizer.h"

namespace roofline {

namespace {

constexpr std::string_view kFetchAgain = "Fetch the file again";

nlohmann::json decoder_of(const rb_tokenizer* handle) {
  BridgeBuffer text, error;
  require_ok(
      rb_tokenizer_decoder(handle, text.out(), error.out()),
      error,
      {"The tokenizer's decoder can't be read", kFetchAgain});
  return nlohmann::json::parse(text.text());
}

std::string_view text_of(const MappedFile& file) {
  const auto bytes = file.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
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
  return found->is_object() ? found->value("content", "") : std::string();
}

/// tokenizer_config.json and special_tokens_map.json say which tokens begin and
/// end a text; either may be missing.
void read_siblings(
    const std::filesystem::path& folder,
    CrateTokenizer& tokenizer) {
  constexpr std::array kNames = {
      "tokenizer_config.json",
      "special_tokens_map.json"};
  for (const char* name : kNames) {
    const std::filesystem::path path = folder / name;
    if (!std::filesystem::is_regular_file(path) ||
        std::filesystem::file_size(path) == 0) {
      continue;
    }
    const MappedFile file(path);
    const auto config = nlohmann::json::parse(text_of(file), nullptr, false);
    if (!config.is_object()) {
      fail<CheckpointError>(
          path.string() + " is no JSON object",
          "",
          kFetchAgain);
    }
    const auto bos = tokenizer.token_id(token_in(config, "bos_token"));
    const auto eos = tokenizer.token_id(token_in(config, "eos_token"));
    if (bos && !tokenizer.bos) {
      tokenizer.set_bos(*bos);
    }
    if (eos && !tokenizer.eos) {
      tokenizer.set_eos(*eos);
    }
  }
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_json_file(
    const std::filesystem::path& tokenizer_json) {
  rb_tokenizer* handle = nullptr;
  {
    const MappedFile file(tokenizer_json);
    BridgeBuffer error;
    require_ok(
        rb_tokenizer_from_json(view_of(text_of(file)), &handle, error.out()),
        error,
        {tokenizer_json.string() + " is broken", kFetchAgain});
  }
  TokenizerHandle owned(handle);
  std::optional<DecodeRules> rules = read_decode_rules(decoder_of(handle));
  auto tokenizer = std::make_unique<CrateTokenizer>(
      std::move(owned),
      std::move(rules),
      CrateTokenizer::Frame{.by_handle = true});
  read_siblings(tokenizer_json.parent_path(), *tokenizer);
  return tokenizer;
}

}  // namespace roofline
