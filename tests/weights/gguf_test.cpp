#include "roofline/weights/gguf.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/weights/ggml_types.h"
#include "weights/file_builders.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

using namespace roofline::testing;

constexpr std::uint32_t kTypeF32 = 0;
constexpr std::uint32_t kTypeQ40 = 2;

GgufBuilder small_file() {
  GgufBuilder out;
  out.text("general.architecture", "llama")
      .u32("llama.block_count", 2)
      .f32("llama.eps", 0.5f)
      .numbers<std::int32_t>("llama.sizes", kI32, {1, -2, 3})
      .texts("tokenizer.ggml.tokens", {"a", "", "ccc"})
      .numbers<float>("tokenizer.ggml.scores", kF32, {0.0f, -1.5f, 2.0f})
      .numbers<std::int32_t>("tokenizer.ggml.token_type", kI32, {1, 3, 1})
      .tensor("w", {32, 3}, kTypeQ40, std::string(54, 'q'))
      .tensor("v", {5}, kTypeF32, std::string(20, 'v'));
  return out;
}

void expect_gguf_refused(
    const std::string& file,
    std::initializer_list<std::string_view> parts) {
  expect_error<CheckpointError>(
      [&] { GgufFile(as_bytes(file), "x.gguf"); },
      parts);
}

void expect_unsupported(
    const std::string& file,
    std::initializer_list<std::string_view> parts) {
  expect_error<UnsupportedError>(
      [&] { GgufFile(as_bytes(file), "x.gguf"); },
      parts);
}

TEST(Gguf, MetadataIsAFlatObject) {
  const std::string bytes = small_file().build();
  const GgufFile file(as_bytes(bytes), "x");
  EXPECT_EQ(file.version(), 3);
  const auto& metadata = file.metadata();
  EXPECT_EQ(metadata["general.architecture"], "llama");
  EXPECT_EQ(metadata["llama.block_count"], 2);
  EXPECT_EQ(metadata["llama.eps"], 0.5);
  EXPECT_EQ(metadata["llama.sizes"], nlohmann::json({1, -2, 3}));
  EXPECT_FALSE(metadata.contains("tokenizer.ggml.tokens"));
}

TEST(Gguf, VocabularyArraysAreReadOnRequest) {
  const std::string bytes = small_file().build();
  const GgufFile file(as_bytes(bytes), "x");
  EXPECT_EQ(
      file.strings("tokenizer.ggml.tokens"),
      (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(
      file.floats("tokenizer.ggml.scores"),
      (std::vector<float>{0.0f, -1.5f, 2.0f}));
  EXPECT_EQ(
      file.integers("tokenizer.ggml.token_type"),
      (std::vector<std::int32_t>{1, 3, 1}));
  EXPECT_TRUE(file.has_array("tokenizer.ggml.tokens"));
  EXPECT_FALSE(file.has_array("tokenizer.ggml.merges"));
  EXPECT_TRUE(file.strings("tokenizer.ggml.merges").empty());
}

TEST(Gguf, AnArrayOfAnotherTypeIsNamed) {
  const std::string bytes = small_file().build();
  const GgufFile file(as_bytes(bytes), "x.gguf");
  expect_error<CheckpointError>(
      [&] { file.strings("tokenizer.ggml.scores"); },
      {"x.gguf", "tokenizer.ggml.scores", "texts"});
  expect_error<CheckpointError>(
      [&] { file.floats("tokenizer.ggml.tokens"); },
      {"floating-point"});
  expect_error<CheckpointError>(
      [&] { file.integers("tokenizer.ggml.scores"); },
      {"integers"});
}

TEST(Gguf, IntegersBeyond32BitsAreRefused) {
  for (std::uint64_t value : {std::uint64_t{1} << 31, UINT64_MAX}) {
    const std::string bytes =
        GgufBuilder().numbers<std::uint64_t>("a", kU64, {value}).build();
    const GgufFile file(as_bytes(bytes), "x");
    EXPECT_THROW(file.integers("a"), CheckpointError) << value;
  }
}

TEST(Gguf, TensorsHaveShapesAndBytes) {
  const std::string bytes = small_file().build();
  const GgufFile file(as_bytes(bytes), "x");
  const GgufTensor* w = file.find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->encoding, Encoding::q4_0);
  EXPECT_EQ(w->cols(), 32);
  EXPECT_EQ(w->rows(), 3);
  EXPECT_EQ(w->bytes.size(), 54u);
  EXPECT_EQ(w->bytes[0], std::byte{'q'});
  EXPECT_EQ(file.find("v")->rows(), 1);
  EXPECT_EQ(file.find("v")->bytes[19], std::byte{'v'});
  EXPECT_EQ(file.find("u"), nullptr);
}

TEST(Gguf, Version2AndOtherAlignmentsAreRead) {
  GgufBuilder builder;
  builder.version = 2;
  builder.alignment = 64;
  builder.u32("general.alignment", 64)
      .tensor("a", {1}, kTypeF32, "1234")
      .tensor("b", {1}, kTypeF32, "5678");
  const std::string bytes = builder.build();
  const GgufFile file(as_bytes(bytes), "x");
  EXPECT_EQ(file.version(), 2);
  EXPECT_EQ(file.find("b")->bytes[0], std::byte{'5'});
}

TEST(Gguf, AMappedFileReadsAsOneInMemory) {
  TempFolder folder;
  const auto path = folder.write("a.gguf", small_file().build());
  const GgufFile file(path);
  EXPECT_EQ(file.tensors().size(), 2u);
  EXPECT_NO_THROW(file.release(file.tensors()[0].bytes));
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string bytes = small_file().build();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string part = bytes.substr(0, size);
    EXPECT_THROW(GgufFile(as_bytes(part), "x"), CheckpointError) << size;
  }
}

TEST(Gguf, OtherVersionsAndByteOrdersAreNamed) {
  GgufBuilder builder;
  builder.version = 1;
  expect_unsupported(builder.build(), {"x.gguf", "version 1", "Convert"});
  builder.version = 4;
  expect_unsupported(builder.build(), {"version 4"});
  builder.version = 3 << 24;
  expect_unsupported(builder.build(), {"big-endian"});
}

TEST(Gguf, OtherFilesAreCalledWhatTheyLookLike) {
  expect_gguf_refused(
      SafetensorsBuilder().fill("a", {2}, 1.0f).build(),
      {"x.gguf is no GGUF file", "a safetensors file"});
  expect_gguf_refused("PK\x03\x04 and so on", {"zip archive (PyTorch"});
  expect_gguf_refused(
      "version https://git-lfs.github.com/spec/v1\n",
      {"Git LFS pointer"});
  expect_gguf_refused("<html><body>404</body></html>", {"web page"});
  expect_gguf_refused("lmgg\x01", {"old GGML"});
  expect_gguf_refused(std::string(100, '\0'), {"zeros"});
  expect_gguf_refused("hello there", {"letters GGUF"});
}

TEST(Gguf, CountsBeyondTheFileAreRefusedWithoutAllocatingThem) {
  for (std::int64_t count : {INT64_MAX, std::int64_t{1} << 40}) {
    GgufBuilder tensors = small_file();
    tensors.claim_tensors = count;
    expect_gguf_refused(tensors.build(), {"x.gguf", std::to_string(count)});
    GgufBuilder pairs = small_file();
    pairs.claim_pairs = count;
    expect_gguf_refused(
        pairs.build(),
        {std::to_string(count), "metadata values"});
  }
}

TEST(Gguf, ArrayLengthsBeyondTheFileAreRefused) {
  for (std::uint64_t count :
       {std::uint64_t{1} << 40, std::uint64_t{1} << 62, UINT64_MAX}) {
    for (std::uint32_t kind : {kU8, kU64, kString, kArray}) {
      const std::string file =
          GgufBuilder()
              .raw("a", kArray, GgufBuilder::array_head(kind, count))
              .build();
      expect_gguf_refused(file, {"x.gguf"});
    }
  }
}

TEST(Gguf, TextLengthsBeyondTheFileAreRefused) {
  for (std::uint64_t size : {std::uint64_t{1} << 32, UINT64_MAX}) {
    std::string value;
    put(value, size);
    expect_gguf_refused(
        GgufBuilder().raw("a", kString, value).build(),
        {"a text", std::to_string(size)});
  }
}

TEST(Gguf, DeeplyNestedArraysAreRefused) {
  std::string value;
  for (int i = 0; i < 10000; ++i) {
    value += GgufBuilder::array_head(kArray, 1);
  }
  expect_gguf_refused(
      GgufBuilder().raw("deep", kArray, value).build(),
      {"deep", "deeper"});
}

TEST(Gguf, UnknownValueTypesAreRefused) {
  expect_gguf_refused(
      GgufBuilder().raw("odd", 13, "1234").build(),
      {"odd", "type is 13"});
  expect_gguf_refused(
      GgufBuilder()
          .raw("odd", kArray, GgufBuilder::array_head(99, 1) + "1")
          .build(),
      {"odd", "type is 99"});
}

TEST(Gguf, KeysAndTensorsGivenTwiceAreRefused) {
  expect_gguf_refused(
      GgufBuilder().u32("k", 1).u32("k", 2).build(),
      {"k twice"});
  expect_gguf_refused(
      GgufBuilder().u32("k", 1).texts("k", {"x"}).build(),
      {"k twice"});
  expect_gguf_refused(
      GgufBuilder()
          .tensor("w", {1}, kTypeF32, "1234")
          .tensor("w", {1}, kTypeF32, "1234")
          .build(),
      {"tensor w", "twice"});
}

TEST(Gguf, OffsetsPastTheEndAreRefused) {
  for (std::uint64_t offset :
       {std::uint64_t{64}, std::uint64_t{1} << 40, UINT64_MAX - 31}) {
    expect_gguf_refused(
        GgufBuilder()
            .tensor("a", {1}, kTypeF32, "1234")
            .info("w", {1}, kTypeF32, offset)
            .build(),
        {"tensor w", std::to_string(offset), "truncated"});
  }
}

TEST(Gguf, OverlapsAndMisalignedOffsetsAreRefused) {
  const std::string bytes(128, 'x');
  expect_gguf_refused(
      GgufBuilder()
          .tensor("a", {32}, kTypeF32, bytes)
          .info("b", {8}, kTypeF32, 32)
          .build(),
      {"tensor b", "overlap", "a"});
  expect_gguf_refused(
      GgufBuilder()
          .tensor("a", {32}, kTypeF32, bytes)
          .info("b", {1}, kTypeF32, 4)
          .build(),
      {"tensor b", "alignment 32"});
}

TEST(Gguf, ShapesThatCannotBeAreRefused) {
  const std::uint64_t half = std::uint64_t{1} << 32;
  const std::vector<std::vector<std::uint64_t>> shapes = {
      {0},
      {half, half},
      {UINT64_MAX},
      {std::uint64_t{1} << 63},
      {std::uint64_t{1} << 62, 2, 2},
      {INT64_MAX},
      {1, 1, 1, 1, 1}};
  for (const auto& shape : shapes) {
    expect_gguf_refused(
        GgufBuilder().tensor("w", shape, kTypeF32, "1234").build(),
        {"tensor w"});
  }
  GgufBuilder blocks;
  blocks.tensor("w", {33}, kTypeQ40, std::string(64, 'x'));
  expect_gguf_refused(blocks.build(), {"tensor w", "33", "q4_0"});
}

TEST(Gguf, AlignmentsThatCannotBeAreRefused) {
  for (std::uint32_t alignment : {0u, 1u, 4u, 24u, 0x80000000u}) {
    expect_gguf_refused(
        GgufBuilder()
            .u32("general.alignment", alignment)
            .tensor("w", {1}, kTypeF32, "1234")
            .build(),
        {"general.alignment", "power of two"});
  }
  expect_gguf_refused(
      GgufBuilder().text("general.alignment", "32").build(),
      {"general.alignment"});
}

TEST(Gguf, TypesThatAreNotReadAreNamed) {
  const std::pair<std::uint32_t, const char*> types[] = {
      {9, "Q8_1"},
      {31, "Q4_0_4_4"},
      {36, "IQ4_NL_4_4"},
      {1000, "number 1000"}};
  for (const auto& [type, name] : types) {
    expect_unsupported(
        GgufBuilder().tensor("w", {256}, type, std::string(2048, 'x')).build(),
        {"x.gguf", "w has the type", name, "Q4_K_M"});
  }
}

TEST(Gguf, EveryEncodingHasItsGgmlNumber) {
  EXPECT_EQ(ggml_encoding(0), Encoding::f32);
  EXPECT_EQ(ggml_encoding(14), Encoding::q6_k);
  EXPECT_EQ(ggml_encoding(30), Encoding::bf16);
  EXPECT_EQ(ggml_encoding(31), std::nullopt);
  EXPECT_EQ(ggml_type_name(20), "IQ4_NL");
  EXPECT_EQ(ggml_type_name(77), "");
}

}  // namespace
}  // namespace roofline
