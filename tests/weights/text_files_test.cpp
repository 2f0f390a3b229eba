#include "roofline/weights/text_files.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/weights/checkpoint.h"
#include "weights/file_builders.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

using namespace roofline::testing;

GgufBuilder vocabulary_file() {
  GgufBuilder out;
  out.text("general.architecture", "unheard-of")
      .text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", "smollm")
      .texts("tokenizer.ggml.tokens", {"a", "b", "ab", "<s>"})
      .texts("tokenizer.ggml.merges", {"a b"})
      .numbers<std::int32_t>("tokenizer.ggml.token_type", kI32, {1, 1, 1, 3})
      .u32("tokenizer.ggml.bos_token_id", 3)
      .raw("tokenizer.ggml.add_bos_token", kBool, std::string(1, '\1'))
      .text("tokenizer.chat_template", "hello {{ x }}");
  return out;
}

TEST(TextFiles, AGgufVocabularyIsPlainData) {
  const std::string bytes = vocabulary_file().build();
  const VocabularySpec spec = gguf_vocabulary(GgufFile(as_bytes(bytes), "x"));
  EXPECT_EQ(spec.model, "gpt2");
  EXPECT_EQ(spec.pre, "smollm");
  EXPECT_EQ(spec.tokens, (std::vector<std::string>{"a", "b", "ab", "<s>"}));
  EXPECT_EQ(spec.merges, std::vector<std::string>{"a b"});
  EXPECT_EQ(spec.types[3], 3);
  EXPECT_TRUE(spec.scores.empty());
  EXPECT_EQ(spec.bos, 3);
  EXPECT_EQ(spec.eos, std::nullopt);
  EXPECT_EQ(spec.add_bos, true);
  EXPECT_EQ(spec.add_eos, std::nullopt);
}

TEST(TextFiles, ABrokenGgufVocabularyIsRefused) {
  const std::string none =
      GgufBuilder().text("general.architecture", "llama").build();
  expect_error<CheckpointError>(
      [&] { gguf_vocabulary(GgufFile(as_bytes(none), "x.gguf")); },
      {"x.gguf", "no vocabulary", "tokenizer.ggml.tokens"});
  const std::string uneven =
      vocabulary_file()
          .numbers<float>("tokenizer.ggml.scores", kF32, {1.0f})
          .build();
  expect_error<CheckpointError>(
      [&] { gguf_vocabulary(GgufFile(as_bytes(uneven), "x.gguf")); },
      {"x.gguf", "4 tokens", "1 scores"});
}

TEST(TextFiles, ATemplateIsFoundWhereverItLies) {
  TempFolder folder;
  EXPECT_EQ(folder_chat_template(folder.path()), std::nullopt);
  folder.write("tokenizer_config.json", R"({"chat_template": "three"})");
  EXPECT_EQ(folder_chat_template(folder.path()), "three");
  folder.write("chat_template.json", R"({"chat_template": "two"})");
  EXPECT_EQ(folder_chat_template(folder.path()), "two");
  folder.write("chat_template.jinja", "one");
  EXPECT_EQ(folder_chat_template(folder.path()), "one");
}

TEST(TextFiles, OfSeveralTemplatesTheDefaultIsTaken) {
  TempFolder folder;
  const auto with = [&](const char* list) {
    folder.write(
        "tokenizer_config.json",
        std::string(R"({"chat_template": )") + list + "}");
    return folder_chat_template(folder.path());
  };
  EXPECT_EQ(
      with(
          R"([{"name":"rag","template":"r"},{"name":"default","template":"d"}])"),
      "d");
  EXPECT_EQ(with(R"([{"name":"only","template":"o"}])"), "o");
  EXPECT_EQ(with("null"), std::nullopt);
  expect_error<CheckpointError>(
      [&] {
        with(R"([{"name":"a","template":"x"},{"name":"b","template":"y"}])");
      },
      {"tokenizer_config.json", "default", "a b"});
  expect_error<CheckpointError>([&] { with("7"); }, {"tokenizer_config.json"});
  expect_error<CheckpointError>([&] { with("[7]"); }, {"names and templates"});
}

TEST(TextFiles, AFolderWithoutATokenizerSaysWhatIsMissing) {
  TempFolder folder;
  expect_error<CheckpointError>(
      [&] { load_tokenizer(folder.path()); },
      {folder.path().string(), "tokenizer.json", "tokenizer.model", "Copy"});
  expect_error<UserError>(
      [&] { load_tokenizer(folder.path() / "none"); },
      {"There is no"});
}

TEST(TextFiles, AVocabularyWithoutWeightsIsEnoughForATokenizer) {
  TempFolder folder;
  const auto path = folder.write("vocab.gguf", vocabulary_file().build());
  const auto tokenizer = load_tokenizer(path);
  EXPECT_EQ(tokenizer->vocab_size(), 4);
  EXPECT_EQ(load_tokenizer(folder.path())->vocab_size(), 4);
  EXPECT_EQ(load_chat_template(path), "hello {{ x }}");
  EXPECT_EQ(load_chat_template(folder.path()), "hello {{ x }}");
}

}  // namespace
}  // namespace roofline
