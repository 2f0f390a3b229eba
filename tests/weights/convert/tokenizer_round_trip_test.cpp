#include <gtest/gtest.h>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/text/write_tokenizer.h"
#include "roofline/weights/convert/tokenizer_to_gguf.h"
#include "roofline/weights/gguf.h"
#include "roofline/weights/text_files.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
using namespace roofline::testing;

constexpr std::string_view kText =
    "Hello, y'all! It's 1234567 caf\u00e9s \u4f60\u597d \U0001f600\n\n"
    "  def f(x):\n\treturn x+1  <|endoftext|> don't  WE'LL \u0436\u0438\u0437";

fs::path vocabulary_file(const std::string& name) {
  return fs::path(ROOFLINE_TEST_DATA) / "tokenizers" /
         fmt::format("ggml-vocab-{}.gguf", name);
}

std::vector<std::int32_t> ids_of(const Tokenizer& tokenizer) {
  return tokenizer.encode(kText, Specials::add);
}

const std::vector<std::string>& names() {
  static const std::vector<std::string> all = {
      "gpt-2",
      "llama-spm",
      "phi-3",
      "starcoder"};
  return all;
}

TEST(TokenizerRoundTrip, AVocabularyAsTokenizerJsonGivesTheSameIds) {
  for (const std::string& name : names()) {
    const TempFolder temp;
    const VocabularySpec spec =
        gguf_vocabulary(GgufFile(vocabulary_file(name)));
    temp.write("tokenizer.json", tokenizer_json(spec));
    temp.write(
        "tokenizer_config.json",
        tokenizer_config_json(spec, "{{ x }}", 2048));
    const auto before = Tokenizer::from_vocabulary(spec);
    const auto after = folder_tokenizer(temp.path());
    EXPECT_EQ(ids_of(*before), ids_of(*after)) << name;
    EXPECT_EQ(before->vocab_size(), after->vocab_size()) << name;
    EXPECT_EQ(before->bos, after->bos) << name;
    EXPECT_EQ(before->eos, after->eos) << name;
    const auto ids = before->encode(kText, Specials::none);
    EXPECT_EQ(before->decode(ids), after->decode(ids)) << name;
    EXPECT_EQ(folder_chat_template(temp.path()), "{{ x }}");
  }
}

const GgufValue* find(const GgufMetadata& metadata, std::string_view key) {
  for (const auto& [name, value] : metadata) {
    if (name == key) {
      return &value;
    }
  }
  return nullptr;
}

TEST(TokenizerRoundTrip, AFolderBecomesTheVocabularyThatItCameFrom) {
  for (const std::string& name : names()) {
    const TempFolder temp;
    const VocabularySpec spec =
        gguf_vocabulary(GgufFile(vocabulary_file(name)));
    temp.write("tokenizer.json", tokenizer_json(spec));
    temp.write(
        "tokenizer_config.json",
        tokenizer_config_json(spec, std::nullopt, 2048));
    const GgufMetadata out = gguf_vocabulary_of(
        temp.path(),
        static_cast<std::int64_t>(spec.tokens.size()));
    VocabularySpec again;
    again.model = std::get<std::string>(*find(out, "tokenizer.ggml.model"));
    again.pre = std::get<std::string>(*find(out, "tokenizer.ggml.pre"));
    again.tokens =
        std::get<std::vector<std::string>>(*find(out, "tokenizer.ggml.tokens"));
    again.types = std::get<std::vector<std::int32_t>>(
        *find(out, "tokenizer.ggml.token_type"));
    if (const GgufValue* merges = find(out, "tokenizer.ggml.merges")) {
      again.merges = std::get<std::vector<std::string>>(*merges);
    }
    if (const GgufValue* scores = find(out, "tokenizer.ggml.scores")) {
      again.scores = std::get<std::vector<float>>(*scores);
    }
    EXPECT_EQ(again.model, spec.model) << name;
    EXPECT_EQ(again.tokens, spec.tokens) << name;
    EXPECT_EQ(again.merges, spec.merges) << name;
    EXPECT_EQ(
        Tokenizer::from_vocabulary(again)->encode(kText, Specials::none),
        Tokenizer::from_vocabulary(spec)->encode(kText, Specials::none))
        << name;
  }
}

TEST(TokenizerRoundTrip, RowsWithoutATokenAreFilledUp) {
  const TempFolder temp;
  const VocabularySpec spec =
      gguf_vocabulary(GgufFile(vocabulary_file("gpt-2")));
  const auto count = static_cast<std::int64_t>(spec.tokens.size());
  temp.write("tokenizer.json", tokenizer_json(spec));
  const GgufMetadata out = gguf_vocabulary_of(temp.path(), count + 2);
  const auto& tokens =
      std::get<std::vector<std::string>>(*find(out, "tokenizer.ggml.tokens"));
  ASSERT_EQ(tokens.size(), spec.tokens.size() + 2);
  EXPECT_EQ(tokens.back(), fmt::format("[PAD{}]", count + 1));
  expect_error<CheckpointError>(
      [&] { gguf_vocabulary_of(temp.path(), count - 5); },
      {"has the id", "vocabulary has"});
}

TEST(TokenizerRoundTrip, WhatGgufHasNoFormForIsRefused) {
  const TempFolder temp;
  temp.write(
      "tokenizer.json",
      R"({"model": {"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0}}})");
  expect_error<UnsupportedError>(
      [&] { gguf_vocabulary_of(temp.path(), 1); },
      {"no form in GGUF", "WordLevel"});
  VocabularySpec other;
  other.model = "bert";
  other.tokens = {"a"};
  expect_error<UnsupportedError>(
      [&] { tokenizer_json(other); },
      {"bert", "gpt2"});
}

}  // namespace
}  // namespace roofline
