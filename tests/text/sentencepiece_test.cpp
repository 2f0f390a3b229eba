#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/text/tokenizer.h"
#include "text/temp_folder.h"

namespace roofline {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::TempFolder;

const std::string kFolder = ROOFLINE_TEST_DATA "/tokenizers/";

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Models of our own text, with what the sentencepiece library made of them.
void expect_same_ids(const std::string& name, bool round_trips) {
  const auto tokenizer =
      Tokenizer::from_sentencepiece_file(kFolder + name + ".model");
  const auto cases = nlohmann::json::parse(read(kFolder + name + ".json"));
  ASSERT_GE(cases.size(), 10u);
  for (const auto& test : cases) {
    const std::string text = test.at("text");
    SCOPED_TRACE(text);
    const Ids ids = tokenizer->encode(text, Specials::none);
    EXPECT_EQ(ids, test.at("ids").get<Ids>());
    if (round_trips) {
      EXPECT_EQ(tokenizer->decode(ids), text);
    }
  }
}

TEST(SentencePiece, BytePairModelsGiveTheLibrarysIds) {
  expect_same_ids("tiny_bpe", true);
}

TEST(SentencePiece, UnigramModelsGiveTheLibrarysIds) {
  expect_same_ids("tiny_unigram", true);
}

TEST(SentencePiece, NormalizationRulesOfTheFileAreApplied) {
  expect_same_ids("tiny_unigram_nfkc", false);
}

TEST(SentencePiece, TokensAddedLaterComeFromTheFilesBeside) {
  const TempFolder folder;
  const auto path =
      folder.write("tokenizer.model", read(kFolder + "tiny_bpe.model"));
  const auto bare = Tokenizer::from_sentencepiece_file(path);
  const std::int32_t size = bare->vocab_size();
  EXPECT_EQ(bare->encode("a", Specials::add).front(), bare->bos);
  folder.write(
      "added_tokens.json",
      "{\"<|im_start|>\": " + std::to_string(size) + "}");
  folder.write(
      "tokenizer_config.json",
      R"({"add_bos_token": false, "add_eos_token": true,
          "eos_token": "<|im_start|>"})");
  const auto tokenizer = Tokenizer::from_sentencepiece_file(path);
  EXPECT_EQ(tokenizer->vocab_size(), size + 1);
  EXPECT_EQ(tokenizer->eos, size);
  EXPECT_EQ(
      tokenizer->encode("<|im_start|>", Specials::add),
      (Ids{size, size}));
}

TEST(SentencePiece, ATruncatedFileIsACheckpointErrorOrAShorterModel) {
  const TempFolder folder;
  const std::string whole = read(kFolder + "tiny_bpe.model");
  for (std::size_t size = 1; size < whole.size(); size += 97) {
    try {
      Tokenizer::from_sentencepiece_file(
          folder.write("tokenizer.model", whole.substr(0, size)));
    } catch (const CheckpointError&) {
      // A cut between two fields leaves a whole message behind.
    }
  }
  EXPECT_THROW(
      Tokenizer::from_sentencepiece_file(
          folder.write("tokenizer.model", whole.substr(0, 500))),
      CheckpointError);
  EXPECT_THROW(
      Tokenizer::from_sentencepiece_file(
          folder.write("tokenizer.model", "{\"no\": \"protobuf\"}")),
      CheckpointError);
}

}  // namespace
}  // namespace roofline
