#include "roofline/weights/safetensors.h"

#include <gtest/gtest.h>

#include <tuple>

#include "roofline/base/errors.h"
#include "weights/file_builders.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

using namespace roofline::testing;

void expect_header_refused(
    const std::string& file,
    std::initializer_list<std::string_view> parts) {
  expect_error<CheckpointError>(
      [&] { SafetensorsFile(as_bytes(file), "x.safetensors"); },
      parts);
}

std::string entry(
    const std::string& shape,
    const std::string& offsets,
    const std::string& dtype = "F32") {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape +
         R"(,"data_offsets":)" + offsets + "}";
}

TEST(Safetensors, EntriesHaveNamesShapesAndBytes) {
  const std::string file = SafetensorsBuilder()
                               .fill("b", {2, 3}, 1.5f)
                               .add("a", "U8", {0}, "")
                               .add("c", "BF16", {}, "ab")
                               .build();
  const SafetensorsFile read(as_bytes(file), "x");
  ASSERT_EQ(read.entries().size(), 3u);
  const SafetensorsEntry* b = read.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(b->elements(), 6);
  EXPECT_EQ(b->encoding(), Encoding::f32);
  EXPECT_EQ(b->bytes.size(), 24u);
  EXPECT_EQ(read.find("a")->bytes.size(), 0u);
  EXPECT_EQ(read.find("c")->elements(), 1);
  EXPECT_EQ(read.find("c")->encoding(), Encoding::bf16);
  EXPECT_EQ(read.find("d"), nullptr);
}

TEST(Safetensors, MetadataIsNoTensor) {
  const std::string file = safetensors_file(
      R"({"__metadata__":{"format":"mlx"},"a":)" + entry("[1]", "[0,4]") + "}",
      "1234");
  EXPECT_EQ(SafetensorsFile(as_bytes(file), "x").entries().size(), 1u);
}

TEST(Safetensors, AMappedFileReadsAsOneInMemory) {
  TempFolder folder;
  const auto path = folder.write(
      "a.safetensors",
      SafetensorsBuilder().fill("w", {4}, 2.0f).build());
  const SafetensorsFile read(path);
  ASSERT_EQ(read.entries().size(), 1u);
  float value = 0;
  std::memcpy(&value, read.find("w")->bytes.data(), sizeof(value));
  EXPECT_EQ(value, 2.0f);
  EXPECT_NO_THROW(read.release(read.find("w")->bytes));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string file =
      SafetensorsBuilder().fill("a", {2, 3}, 1.0f).fill("b", {5}, 1.0f).build();
  for (std::size_t size = 0; size < file.size(); ++size) {
    const std::string part = file.substr(0, size);
    EXPECT_THROW(SafetensorsFile(as_bytes(part), "x"), CheckpointError) << size;
  }
}

TEST(Safetensors, BytesAfterTheLastTensorAreRefused) {
  expect_header_refused(
      SafetensorsBuilder().fill("a", {1}, 1.0f).build() + "xyz",
      {"x.safetensors", "3 bytes after"});
}

TEST(Safetensors, AHugeHeaderLengthIsRefusedWithoutAllocatingIt) {
  std::string file = SafetensorsBuilder().fill("a", {1}, 1.0f).build();
  for (std::uint64_t length :
       {std::uint64_t{1} << 40, UINT64_MAX, UINT64_MAX - 7}) {
    std::memcpy(file.data(), &length, sizeof(length));
    expect_header_refused(file, {"x.safetensors", std::to_string(length)});
  }
}

TEST(Safetensors, OffsetsPastTheEndAreRefused) {
  expect_header_refused(
      safetensors_file("{\"w\":" + entry("[2]", "[0,8]") + "}", "1234"),
      {"tensor w", "[0, 8]", "4 bytes", "Download"});
  expect_header_refused(
      safetensors_file(
          "{\"w\":" +
              entry("[1]", "[18446744073709551612,18446744073709551615]") + "}",
          "1234"),
      {"tensor w"});
  expect_header_refused(
      safetensors_file("{\"w\":" + entry("[1]", "[4,0]") + "}", "1234"),
      {"tensor w", "[4, 0]"});
}

TEST(Safetensors, OverlapsAndGapsAreRefused) {
  const std::string overlap = "{\"a\":" + entry("[2]", "[0,8]") +
                              ",\"b\":" + entry("[2]", "[4,12]") + "}";
  expect_header_refused(
      safetensors_file(overlap, "123456789012"),
      {"tensor b", "overlap"});
  const std::string gap = "{\"a\":" + entry("[1]", "[0,4]") +
                          ",\"b\":" + entry("[1]", "[8,12]") + "}";
  expect_header_refused(
      safetensors_file(gap, "123456789012"),
      {"tensor b", "gap"});
  const std::string late = "{\"a\":" + entry("[1]", "[4,8]") + "}";
  expect_header_refused(
      safetensors_file(late, "12345678"),
      {"tensor a", "gap"});
}

TEST(Safetensors, ShapesThatCannotBeAreRefused) {
  for (const char* shape :
       {"[-1]",
        "[1.5]",
        "[\"1\"]",
        "[9223372036854775808]",
        "[4294967296,4294967296]",
        "[9223372036854775807,2]",
        "[18446744073709551616]",
        "[1,1,1,1,1,1,1,1,1]",
        "{}",
        "3",
        "null",
        "[[1]]"}) {
    expect_header_refused(
        safetensors_file("{\"w\":" + entry(shape, "[0,4]") + "}", "1234"),
        {"x.safetensors"});
  }
}

TEST(Safetensors, AShapeThatContradictsItsBytesIsRefused) {
  expect_header_refused(
      safetensors_file("{\"w\":" + entry("[3]", "[0,4]") + "}", "1234"),
      {"tensor w", "[3]", "F32", "4 bytes"});
  expect_header_refused(
      safetensors_file(
          "{\"w\":" + entry("[4611686018427387904,4]", "[0,4]") + "}",
          "1234"),
      {"tensor w"});
}

TEST(Safetensors, UnknownDtypesAreNamed) {
  expect_header_refused(
      safetensors_file("{\"w\":" + entry("[4]", "[0,4]", "Q17") + "}", "1234"),
      {"tensor w", "Q17", "F32, F16 and BF16", "Convert"});
}

TEST(Safetensors, EntriesOfTheWrongFormAreRefused) {
  for (const char* value :
       {"3",
        "[]",
        "{}",
        R"({"dtype":"F32","shape":[1]})",
        R"({"dtype":7,"shape":[1],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,8]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[-1,4]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":"0"})"}) {
    expect_header_refused(
        safetensors_file(std::string("{\"w\":") + value + "}", "1234"),
        {"x.safetensors", "w"});
  }
}

TEST(Safetensors, ANameGivenTwiceIsRefused) {
  const std::string header = "{\"w\":" + entry("[1]", "[0,4]") +
                             ",\"w\":" + entry("[1]", "[4,8]") + "}";
  expect_header_refused(safetensors_file(header, "12345678"), {"\"w\" twice"});
}

TEST(Safetensors, ADeepHeaderIsRefused) {
  expect_header_refused(
      safetensors_file("{\"w\":" + std::string(100000, '[') + "}", "1234"),
      {"deeper than"});
}

TEST(Safetensors, AHeaderThatIsNoJsonIsRefused) {
  expect_header_refused(
      safetensors_file("{\"w\": nope}", ""),
      {"JSON", "\"w\": no"});
  expect_header_refused(
      safetensors_file("{\"w\xff\":1}", ""),
      {"JSON", "Download"});
}

TEST(Safetensors, OtherFilesAreCalledWhatTheyLookLike) {
  expect_header_refused(
      "PK\x03\x04 and so on and on",
      {"zip archive (PyTorch"});
  expect_header_refused(
      "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
      {"Git LFS pointer"});
  expect_header_refused("<!DOCTYPE html><html></html>", {"web page"});
  expect_header_refused("GGUF\x03 and so on and on", {"GGUF file"});
}

TEST(Safetensors, NamesFromTheFileAreEscapedInErrors) {
  const std::string header =
      R"({"a\u001b[31mb":)" + entry("[2]", "[0,4]") + "}";
  expect_header_refused(safetensors_file(header, "1234"), {"a\\x1b[31mb"});
}

}  // namespace
}  // namespace roofline
