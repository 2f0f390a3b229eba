#include "roofline/decode/chat.h"

#include "roofline/base/errors.h"

namespace roofline {

namespace {

bool adds_bos(const Tokenizer& tokenizer) {
  if (!tokenizer.bos) {
    return false;
  }
  const auto empty = tokenizer.encode("", Specials::add);
  return !empty.empty() && empty.front() == *tokenizer.bos;
}

// Encodes without specials, then puts the begin token in front where the
// tokenizer would. An end token that the tokenizer would add is left out: the
// model is to go on, not to stop.
std::vector<std::int32_t> encode_open(
    const Tokenizer& tokenizer,
    std::string_view text) {
  auto ids = tokenizer.encode(text, Specials::none);
  const bool there = !ids.empty() && ids.front() == tokenizer.bos;
  if (!there && adds_bos(tokenizer)) {
    ids.insert(ids.begin(), *tokenizer.bos);
  }
  return ids;
}

}  // namespace

std::vector<std::int32_t> encode_prompt(
    const Tokenizer& tokenizer,
    std::string_view text) {
  return encode_open(tokenizer, text);
}

std::vector<std::int32_t> encode_chat(
    const Tokenizer& tokenizer,
    const ChatTemplate* chat_template,
    const nlohmann::ordered_json& messages,
    RenderOptions options) {
  if (chat_template == nullptr) {
    fail<UnsupportedError>(
        "This model has no chat template",
        "Without one nobody knows how it expects turns to be written",
        "Give it text to continue with `roofline generate --raw`, or take an "
        "instruction-tuned model");
  }
  options.add_generation_prompt = true;
  if (options.bos_text.empty()) {
    options.bos_text = tokenizer.bos_text;
  }
  if (options.eos_text.empty()) {
    options.eos_text = tokenizer.eos_text;
  }
  return encode_open(tokenizer, chat_template->render(messages, options));
}

}  // namespace roofline
