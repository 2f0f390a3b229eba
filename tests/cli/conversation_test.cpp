#include "roofline/cli/conversation.h"

#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace roofline::cli {

namespace {

/// All messages that a user's lines make.
std::vector<std::string> messages_of(std::deque<std::string> lines) {
  const auto next = [&](bool) -> std::optional<std::string> {
    if (lines.empty()) {
      return std::nullopt;
    }
    std::string line = lines.front();
    lines.pop_front();
    return line;
  };
  std::vector<std::string> out;
  while (auto message = read_message(next)) {
    out.push_back(*message);
  }
  return out;
}

using Texts = std::vector<std::string>;

TEST(ReadMessage, ALineIsAMessage) {
  EXPECT_EQ(messages_of({"a", "", "b"}), (Texts{"a", "", "b"}));
}

TEST(ReadMessage, ABackslashJoinsLines) {
  EXPECT_EQ(messages_of({"a\\", "b\\", "c", "d"}), (Texts{"a\nb\nc", "d"}));
  EXPECT_EQ(messages_of({"a\\"}), (Texts{"a\n"}));
}

TEST(ReadMessage, QuotesEncloseABlock) {
  EXPECT_EQ(
      messages_of({"\"\"\"", "a", "", "b", "\"\"\"", "c"}),
      (Texts{"a\n\nb\n", "c"}));
  EXPECT_EQ(messages_of({"\"\"\"a", "b\"\"\""}), (Texts{"a\nb"}));
  EXPECT_EQ(messages_of({"\"\"\"a\"\"\""}), (Texts{"a"}));
  EXPECT_EQ(messages_of({"\"\"\"", "never closed"}), (Texts{"never closed\n"}));
}

TEST(ParseSlash, SplitsNameAndArgument) {
  const auto command = parse_slash("  /save  my file.json ");
  ASSERT_TRUE(command);
  EXPECT_EQ(command->name, "save");
  EXPECT_EQ(command->argument, "my file.json");
  EXPECT_EQ(parse_slash("/reset")->name, "reset");
  EXPECT_EQ(parse_slash("/reset")->argument, "");
}

TEST(ParseSlash, LeavesMessagesAlone) {
  for (const char* line : {"", "/", "//etc", "a /b", "hello"}) {
    EXPECT_FALSE(parse_slash(line)) << line;
  }
}

TEST(Conversation, PutsTheSystemMessageFirstAndKeepsItOnClear) {
  Conversation conversation;
  conversation.add("user", "one");
  conversation.set_system("Be brief.");
  EXPECT_EQ(
      conversation.messages().dump(),
      R"([{"role":"system","content":"Be brief."},)"
      R"({"role":"user","content":"one"}])");
  conversation.clear();
  EXPECT_EQ(conversation.messages().size(), 1u);
  conversation.set_system("");
  EXPECT_EQ(conversation.messages().size(), 0u);
}

TEST(Conversation, DropsTheLastMessage) {
  Conversation conversation;
  conversation.add("user", "one");
  conversation.add("user", "two");
  conversation.drop_last();
  EXPECT_EQ(
      conversation.messages().dump(),
      R"([{"role":"user","content":"one"}])");
  conversation.drop_last();
  conversation.drop_last();
  EXPECT_EQ(conversation.size(), 0u);
}

}  // namespace

}  // namespace roofline::cli
