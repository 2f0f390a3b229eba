#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/text/utf8.h"

namespace roofline {
namespace {

std::string pass_in_pieces(std::string_view bytes, std::size_t size) {
  Utf8Gate gate;
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += size) {
    gate.push(bytes.substr(at, size), out);
    EXPECT_EQ(first_invalid_utf8(out), std::nullopt);
  }
  gate.flush(out);
  return out;
}

TEST(Utf8, FindsTheOffsetOfTheFirstFault) {
  EXPECT_EQ(first_invalid_utf8("plain, é, 日本, 🦙"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("ab\xFFz"), 2u);
  EXPECT_EQ(first_invalid_utf8("é\xC3"), 2u);
  EXPECT_EQ(first_invalid_utf8("\xC0\x80"), 0u);          // overlong
  EXPECT_EQ(first_invalid_utf8("a\xED\xA0\x80"), 1u);     // a surrogate
  EXPECT_EQ(first_invalid_utf8("\xF4\x90\x80\x80"), 0u);  // past U+10FFFF
}

TEST(Utf8, TheErrorNamesTheByteAndItsOffset) {
  try {
    require_utf8("abc\xFE", "the prompt");
    FAIL() << "no error was thrown";
  } catch (const UserError& error) {
    EXPECT_NE(
        std::string(error.what()).find("Byte 3 (0xFE)"),
        std::string::npos)
        << error.what();
  }
}

TEST(Utf8Gate, PiecesOfAnySizeGiveTheSameText) {
  const std::string text = "aé日🦙\xE2\x82z\xFF\xF0\x9F";
  const std::string expected = "aé日🦙\uFFFDz\uFFFD\uFFFD";
  for (std::size_t size = 1; size <= text.size(); ++size) {
    EXPECT_EQ(pass_in_pieces(text, size), expected) << size;
  }
}

TEST(Utf8Gate, NothingIsPrintedBeforeACharacterIsWhole) {
  Utf8Gate gate;
  std::string out;
  gate.push("\xF0\x9F\xA6", out);
  EXPECT_EQ(out, "");
  gate.push("\x99", out);
  EXPECT_EQ(out, "🦙");
}

}  // namespace
}  // namespace roofline
