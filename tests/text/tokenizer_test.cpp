#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/text/tokenizer.h"
#include "text/temp_folder.h"

namespace roofline {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::TempFolder;

/// A byte-level vocabulary of ASCII letters, the bytes of one llama, and two
/// merges.
VocabularySpec small_vocabulary() {
  VocabularySpec spec;
  spec.model = "gpt2";
  spec.pre = "gpt-2";
  spec.tokens = {
      "<|end|>",
      "a",
      "b",
      "c",
      "Ġ",
      "ab",
      "Ġab",
      "ð",
      "Ł",
      "¦",
      "Ļ",
      "<tool>"};
  spec.types = {3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4};
  spec.merges = {"a b", "Ġ ab"};
  spec.eos = 0;
  return spec;
}

VocabularySpec marked_vocabulary() {
  VocabularySpec spec;
  spec.model = "llama";
  spec.pre = "default";
  spec.tokens = {"<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab", "▁ab"};
  spec.types = {2, 3, 3, 1, 1, 1, 1, 1, 1};
  spec.scores = {0, 0, 0, -10, -11, -12, -3, -2, -1};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    spec.tokens.push_back(text);
    spec.types.push_back(6);
    spec.scores.push_back(0);
  }
  spec.bos = 1;
  spec.eos = 2;
  spec.unknown = 0;
  return spec;
}

std::string join_stream(const Tokenizer& tokenizer, const Ids& ids) {
  StreamDecoder stream(tokenizer);
  std::string out;
  for (std::int32_t id : ids) {
    out += stream.push(id);
  }
  return out + stream.flush();
}

constexpr std::string_view kTokenizerJson = R"({
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [
    {"id": 3, "content": "<s>", "single_word": false, "lstrip": false,
     "rstrip": false, "normalized": false, "special": true},
    {"id": 4, "content": "<tool>", "single_word": false, "lstrip": false,
     "rstrip": false, "normalized": false, "special": false}],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
                    "trim_offsets": true, "use_regex": true},
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
               {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}},
             {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
  "decoder": {"type": "ByteLevel", "add_prefix_space": true,
              "trim_offsets": true, "use_regex": true},
  "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
})";

TEST(Tokenizer, MergesInOrderOfRank) {
  const auto tokenizer = Tokenizer::from_vocabulary(small_vocabulary());
  EXPECT_EQ(tokenizer->encode("ab abc", Specials::none), (Ids{5, 6, 3}));
  EXPECT_EQ(tokenizer->encode("", Specials::none), Ids{});
  EXPECT_EQ(tokenizer->vocab_size(), 12);
}

TEST(Tokenizer, FindsSpecialTokensInTheText) {
  const auto tokenizer = Tokenizer::from_vocabulary(small_vocabulary());
  EXPECT_EQ(
      tokenizer->encode("a<|end|>b<tool>", Specials::none),
      (Ids{1, 0, 2, 11}));
}

TEST(Tokenizer, DecodingLeavesSpecialTokensOutUnlessAsked) {
  const auto tokenizer = Tokenizer::from_vocabulary(small_vocabulary());
  const Ids ids = {1, 0, 6, 11};
  EXPECT_EQ(tokenizer->decode(ids), "a ab<tool>");
  EXPECT_EQ(tokenizer->decode(ids, true), "a<|end|> ab<tool>");
}

TEST(Tokenizer, AddsTheTokensThatTheVocabularyAsksFor) {
  VocabularySpec spec = small_vocabulary();
  EXPECT_EQ(
      Tokenizer::from_vocabulary(spec)->encode("a", Specials::add),
      Ids{1});
  spec.bos = 0;
  spec.add_bos = true;
  spec.add_eos = true;
  const auto tokenizer = Tokenizer::from_vocabulary(spec);
  EXPECT_EQ(tokenizer->encode("a", Specials::add), (Ids{0, 1, 0}));
  EXPECT_EQ(tokenizer->encode("a", Specials::none), Ids{1});
  EXPECT_EQ(tokenizer->bos_text, "<|end|>");
}

TEST(Tokenizer, LlamasPreTokenizerAddsBosByDefault) {
  VocabularySpec spec = small_vocabulary();
  spec.pre = "llama-bpe";
  spec.bos = 0;
  EXPECT_EQ(
      Tokenizer::from_vocabulary(spec)->encode("a", Specials::add),
      (Ids{0, 1}));
}

TEST(Tokenizer, ScoresDecideTheMergesAndBytesStandIn) {
  const auto tokenizer = Tokenizer::from_vocabulary(marked_vocabulary());
  EXPECT_EQ(tokenizer->encode("ab", Specials::add), (Ids{1, 8}));
  EXPECT_EQ(
      tokenizer->encode("aé", Specials::none),
      (Ids{6, 9 + 0xC3, 9 + 0xA9}));
  EXPECT_EQ(tokenizer->decode(Ids{6, 9 + 0xC3, 9 + 0xA9}), "aé");
}

TEST(Tokenizer, TheSpaceInFrontIsTakenOffOnce) {
  const auto tokenizer = Tokenizer::from_vocabulary(marked_vocabulary());
  EXPECT_EQ(tokenizer->decode(Ids{8, 8}), "ab ab");
  EXPECT_EQ(tokenizer->decode(Ids{3, 8}), " ab");
  EXPECT_EQ(tokenizer->decode(Ids{1, 8}, true), "<s> ab");
  for (std::string text : {" ab", "ab", "  a b ", "é ", ""}) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, Specials::none)), text);
  }
}

TEST(Tokenizer, KnowsTokensByTextAndById) {
  const auto tokenizer = Tokenizer::from_vocabulary(small_vocabulary());
  EXPECT_EQ(tokenizer->token_id("<tool>"), 11);
  EXPECT_EQ(tokenizer->token_id("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer->token_text(5), "ab");
  EXPECT_THROW(tokenizer->token_text(12), UserError);
  EXPECT_THROW(tokenizer->token_text(-1), UserError);
  EXPECT_EQ(tokenizer->decode(Ids{1, 99, -5, 2}), "ab");
}

TEST(Tokenizer, InvalidUtf8IsAnErrorWithItsOffset) {
  const auto tokenizer = Tokenizer::from_vocabulary(small_vocabulary());
  try {
    tokenizer->encode("ab\xFF", Specials::none);
    FAIL() << "no error was thrown";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("Byte 2"), std::string::npos);
  }
}

TEST(Tokenizer, AnUnknownPreTokenizerNamesTheNearest) {
  VocabularySpec spec = small_vocabulary();
  spec.pre = "qwen3";
  try {
    Tokenizer::from_vocabulary(spec);
    FAIL() << "no error was thrown";
  } catch (const UnsupportedError& error) {
    EXPECT_NE(std::string(error.what()).find("\"qwen3\""), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("qwen2"), std::string::npos);
  }
}

TEST(Tokenizer, EveryKnownPreTokenizerCompilesAndKeepsTheText) {
  const char* names[] = {
      "default",      "gpt-2",          "starcoder",   "llama-bpe",
      "dbrx",         "glm4",           "jais-2",      "qwen2",
      "qwen35",       "ufakzeka",       "laguna",      "minicpm5",
      "seed-coder",   "bailingmoe",     "exaone-moe",  "tekken",
      "gpt-4o",       "tiny_aya",       "youtu",       "kimi-k2",
      "falcon",       "bloom",          "viking",      "superbpe",
      "deepseek-llm", "deepseek-coder", "deepseek-v3", "spark2_5",
      "chameleon"};
  for (const char* name : names) {
    SCOPED_TRACE(name);
    VocabularySpec spec = small_vocabulary();
    spec.pre = name;
    const auto tokenizer = Tokenizer::from_vocabulary(spec);
    const std::string text = "ab ab  abc🦙";
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, Specials::none)), text);
  }
}

TEST(Tokenizer, OtherKindsOfVocabularyAreUnsupported) {
  for (const char* model : {"bert", "t5", "rwkv", ""}) {
    VocabularySpec spec = small_vocabulary();
    spec.model = model;
    EXPECT_THROW(Tokenizer::from_vocabulary(spec), UnsupportedError) << model;
  }
}

TEST(Tokenizer, BrokenVocabulariesAreCheckpointErrors) {
  const auto broken = [](auto change) {
    VocabularySpec spec = small_vocabulary();
    change(spec);
    EXPECT_THROW(Tokenizer::from_vocabulary(spec), CheckpointError);
  };
  broken([](auto& spec) { spec.tokens.clear(); });
  broken([](auto& spec) { spec.types.pop_back(); });
  broken([](auto& spec) { spec.merges.clear(); });
  broken([](auto& spec) { spec.merges.push_back("nospace"); });
  broken([](auto& spec) { spec.merges.push_back("a zz"); });
  broken([](auto& spec) { spec.merges.push_back("a c"); });
  broken([](auto& spec) { spec.tokens[3] = "\xFF"; });
  broken([](auto& spec) { spec.bos = 12; });
  broken([](auto& spec) { spec.eos = -1; });
  VocabularySpec scoreless = marked_vocabulary();
  scoreless.scores.clear();
  EXPECT_THROW(Tokenizer::from_vocabulary(scoreless), CheckpointError);
}

TEST(Tokenizer, ReadsATokenizerJsonAndTheFilesBesideIt) {
  const TempFolder folder;
  const auto path = folder.write("tokenizer.json", kTokenizerJson);
  folder.write(
      "tokenizer_config.json",
      R"({"bos_token": {"content": "<s>"}, "eos_token": null})");
  folder.write("special_tokens_map.json", R"({"eos_token": "<tool>"})");
  const auto tokenizer = Tokenizer::from_json_file(path);
  EXPECT_EQ(tokenizer->encode("ab", Specials::add), (Ids{3, 2}));
  EXPECT_EQ(tokenizer->encode("ab<s><tool>", Specials::none), (Ids{2, 3, 4}));
  EXPECT_EQ(tokenizer->decode(Ids{3, 2, 4}), "ab<tool>");
  EXPECT_EQ(tokenizer->bos, 3);
  EXPECT_EQ(tokenizer->bos_text, "<s>");
  EXPECT_EQ(tokenizer->eos_text, "<tool>");
  EXPECT_EQ(tokenizer->vocab_size(), 5);
}

TEST(Tokenizer, ABrokenTokenizerJsonIsACheckpointError) {
  const TempFolder folder;
  const std::string whole(kTokenizerJson);
  for (const std::string& text :
       {std::string("{"),
        std::string("[]"),
        whole.substr(0, 900),
        std::string("\xFF\xFE"),
        std::string(3000, '[')}) {
    EXPECT_THROW(
        Tokenizer::from_json_file(folder.write("tokenizer.json", text)),
        CheckpointError);
  }
  EXPECT_THROW(Tokenizer::from_json_file("/nowhere/tokenizer.json"), UserError);
}

TEST(StreamDecoder, PiecesJoinedEqualTheDecodeOfAllIds) {
  std::mt19937 random(7);
  for (const VocabularySpec& spec : {small_vocabulary(), marked_vocabulary()}) {
    const auto tokenizer = Tokenizer::from_vocabulary(spec);
    for (int round = 0; round < 200; ++round) {
      Ids ids(random() % 40);
      for (std::int32_t& id : ids) {
        id = static_cast<std::int32_t>(random() % spec.tokens.size());
      }
      EXPECT_EQ(join_stream(*tokenizer, ids), tokenizer->decode(ids));
    }
  }
}

TEST(StreamDecoder, HoldsACharacterBackUntilItIsWhole) {
  const auto tokenizer = Tokenizer::from_vocabulary(small_vocabulary());
  StreamDecoder stream(*tokenizer);
  EXPECT_EQ(stream.push(7), "");
  EXPECT_EQ(stream.push(8), "");
  EXPECT_EQ(stream.push(9), "");
  EXPECT_EQ(stream.push(10), "🦙");
  EXPECT_EQ(stream.push(7), "");
  EXPECT_EQ(stream.flush(), "\uFFFD");
}

/// A tokenizer whose decode depends on neighbours, as WordPiece's does.
class SpacedTokenizer : public Tokenizer {
 public:
  Ids encode(std::string_view, Specials) const override { return {}; }
  std::string decode(std::span<const std::int32_t> ids, bool) const override {
    std::string out;
    for (std::int32_t id : ids) {
      out += out.empty() || id < 0 ? "" : " ";
      out += std::to_string(std::abs(id));
    }
    return out;
  }
  std::int32_t vocab_size() const override { return 100; }
  std::optional<std::int32_t> token_id(std::string_view) const override {
    return std::nullopt;
  }
  std::string token_text(std::int32_t) const override { return ""; }
};

TEST(StreamDecoder, WorksOnTokenizersThatDecodeWithNeighbours) {
  const SpacedTokenizer tokenizer;
  const Ids ids = {4, 7, -3, 9, -1, -2, 5};
  EXPECT_EQ(join_stream(tokenizer, ids), tokenizer.decode(ids, false));
}

}  // namespace
}  // namespace roofline
