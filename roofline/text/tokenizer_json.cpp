#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/mapped_file.h"
#include "roofline/text/crate_tokenizer.h"
#include "roofline/text/token_files.h"

namespace roofline {

namespace {

constexpr std::string_view kFetchFile = "Fetch the file again";

nlohmann::json decoder_of(const rb_tokenizer* handle) {
  BridgeBuffer text, error;
  require_ok(
      rb_tokenizer_decoder(handle, text.out(), error.out()),
      error,
      {"The tokenizer's decoder can't be read", kFetchFile});
  return nlohmann::json::parse(text.text());
}

std::string_view text_of(const MappedFile& file) {
  const auto bytes = file.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
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
        {tokenizer_json.string() + " is broken", kFetchFile});
  }
  TokenizerHandle owned(handle);
  std::optional<DecodeRules> rules = read_decode_rules(decoder_of(handle));
  auto tokenizer = std::make_unique<CrateTokenizer>(
      std::move(owned),
      std::move(rules),
      CrateTokenizer::Frame{.by_handle = true});
  TokenFiles(tokenizer_json.parent_path()).name_ends(*tokenizer);
  return tokenizer;
}

}  // namespace roofline
