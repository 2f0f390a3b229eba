#include "roofline/decode/chat.h"

#include <gtest/gtest.h>

#include "decode/fakes.h"
#include "roofline/base/errors.h"

namespace roofline {
namespace {

using fakes::ByteTokenizer;
using fakes::ids_of;
using fakes::kBos;
using Ids = std::vector<std::int32_t>;

Ids with_bos(std::string_view text) {
  Ids ids = ids_of(text);
  ids.insert(ids.begin(), kBos);
  return ids;
}

TEST(EncodePrompt, PutsTheBeginTokenInFrontOnce) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(encode_prompt(tokenizer, "ab"), with_bos("ab"));
  EXPECT_EQ(encode_prompt(tokenizer, "<s>ab"), with_bos("ab"));
}

TEST(EncodePrompt, AddsNoneWhereTheTokenizerAddsNone) {
  const ByteTokenizer tokenizer(false);
  EXPECT_EQ(encode_prompt(tokenizer, "ab"), ids_of("ab"));
}

TEST(EncodePrompt, LeavesTheEndTokenOut) {
  const ByteTokenizer tokenizer(true, true);
  EXPECT_EQ(encode_prompt(tokenizer, "ab"), with_bos("ab"));
}

const nlohmann::ordered_json kMessages = {
    {{"role", "user"}, {"content", "Hi"}}};

TEST(EncodeChat, RendersWithTheBeginOfAnAnswer) {
  const ByteTokenizer tokenizer(false);
  const ChatTemplate chat(
      "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}"
      "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}");
  EXPECT_EQ(
      encode_chat(tokenizer, &chat, kMessages),
      ids_of("[user]Hi</s>[assistant]"));
}

TEST(EncodeChat, HasOneBeginTokenWhetherTheTemplateWritesItOrNot) {
  const ByteTokenizer tokenizer;
  const ChatTemplate writes("{{ bos_token }}{{ messages[0].content }}");
  const ChatTemplate leaves("{{ messages[0].content }}");
  EXPECT_EQ(encode_chat(tokenizer, &writes, kMessages), with_bos("Hi"));
  EXPECT_EQ(encode_chat(tokenizer, &leaves, kMessages), with_bos("Hi"));
}

TEST(EncodeChat, SaysWhatToDoWithoutATemplate) {
  const ByteTokenizer tokenizer;
  try {
    encode_chat(tokenizer, nullptr, kMessages);
    FAIL();
  } catch (const UnsupportedError& error) {
    EXPECT_NE(std::string(error.what()).find("--raw"), std::string::npos);
  }
}

}  // namespace
}  // namespace roofline
