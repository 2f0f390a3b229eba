#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/weights/checked.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/sniff.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

using namespace roofline::testing;

TEST(Printable, PlainTextStaysAsItIs) {
  EXPECT_EQ(printable("model.layers.0.weight"), "model.layers.0.weight");
  EXPECT_EQ(printable("größe 模型 🙂"), "größe 模型 🙂");
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, ControlCharactersAndBrokenUtf8AreEscaped) {
  EXPECT_EQ(printable("a\x1b[2Jb\n"), "a\\x1b[2Jb\\x0a");
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");           // a C1 control
  EXPECT_EQ(printable("\xe0\x80\x80"), "\\xe0\\x80\\x80");  // overlong
}

TEST(Printable, LongTextIsCut) {
  const std::string out = printable(std::string(10000, 'x'));
  EXPECT_LT(out.size(), 200u);
  EXPECT_NE(out.find("…"), std::string::npos);
}

TEST(Checked, OverflowsAreSeen) {
  EXPECT_EQ(checked_mul(3, 5), 15u);
  EXPECT_EQ(
      checked_mul(std::uint64_t{1} << 32, std::uint64_t{1} << 32),
      std::nullopt);
  EXPECT_EQ(checked_add(UINT64_MAX, 0), UINT64_MAX);
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
}

TEST(JsonFile, ErrorsNameTheFileAndThePlace) {
  TempFolder folder;
  const auto path = folder.write("config.json", "{\n  \"a\": oops\n}");
  expect_error<CheckpointError>(
      [&] { read_json_file(path); },
      {path.string(), "line 2", "Download or copy"});
  expect_error<CheckpointError>(
      [&] { read_json_file(folder.path() / "none.json"); },
      {"none.json"});
}

TEST(JsonFile, ABareInfinityIsRead) {
  TempFolder folder;
  const auto path = folder.write(
      "config.json",
      R"({"limits": [0.0, Infinity, -Infinity], "word": "\"Infinity\" \\"})");
  const nlohmann::json read = read_json_file(path);
  EXPECT_EQ(read["limits"][1]["__float__"], "Infinity");
  EXPECT_EQ(read["limits"][2]["__float__"], "-Infinity");
  EXPECT_EQ(read["word"], "\"Infinity\" \\");
}

TEST(JsonFile, DepthAndDoubleKeysAreBounded) {
  expect_error<CheckpointError>(
      [] { parse_json(std::string(1000000, '['), "x"); },
      {"x", "deeper"});
  expect_error<CheckpointError>(
      [] { parse_json(R"({"a":1,"a":2})", "x"); },
      {"\"a\" twice"});
  EXPECT_NO_THROW(parse_json(R"({"a":{"b":1},"b":{"b":1}})", "x"));
}

TEST(JsonFile, FilesThatAreTooLargeAreNotRead) {
  TempFolder folder;
  const auto path = folder.write("a.json", std::string(100, ' ') + "{}");
  expect_error<CheckpointError>(
      [&] { read_text_file(path, 50); },
      {"102 bytes", "at most 50"});
}

TEST(Sniff, KnownContentIsNamed) {
  const auto name = [](const std::string& text) {
    return describe_content(as_bytes(text));
  };
  EXPECT_EQ(name("GGUF\3"), "a GGUF file");
  EXPECT_EQ(name("\n\n <!DOCTYPE html>"), "a web page (HTML)");
  EXPECT_EQ(name("{\"a\": 1}"), "a JSON text");
  EXPECT_EQ(name("\x80\x02}q\x00"), "a Python pickle (PyTorch's old format)");
  EXPECT_EQ(name("\x1f\x8b\x08"), "a gzip archive");
  EXPECT_EQ(name("what is this"), "");
  EXPECT_EQ(name(""), "");
}

}  // namespace
}  // namespace roofline
