#include "roofline/train/sample_encoder.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/decode/chat.h"

namespace roofline {

namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<std::int32_t>;

/// Why a line can't be read; read_dataset() adds file and line.
[[noreturn]] void refuse(const std::string& why) {
  fail<UserError>(
      "This is no sample",
      why,
      "Write {\"messages\": […]}, {\"prompt\": …, \"completion\": …}, "
      "{\"text\": …} or {\"prompt\": …, \"chosen\": …, \"rejected\": …}");
}

const std::string& text_at(const Json& line, const char* key) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_string()) {
    refuse(fmt::format("\"{}\" must be a text", key));
  }
  return found->get_ref<const std::string&>();
}

std::size_t common_prefix(const Ids& a, const Ids& b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::size_t>(end - a.begin());
}

/// Texts in a list of parts count as one, as every template takes it; any other
/// part is refused. Nothing is an empty text.
Json plain_content(const Json& content) {
  if (!content.is_array()) {
    return content.is_null() ? Json("") : content;
  }
  std::string text;
  for (const auto& part : content) {
    if (part.is_string()) {
      text += part.get_ref<const std::string&>();
      continue;
    }
    const bool is_text =
        part.is_object() && part.contains("text") && part["text"].is_string();
    if (!is_text) {
      refuse("a message's \"content\" has a part that is no text");
    }
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

enum class Absent { stays, is_empty };

Json plain_messages(const Json& messages, Absent absent) {
  Json plain = messages;
  for (auto& message : plain) {
    if (message.contains("content") || absent == Absent::is_empty) {
      message["content"] = plain_content(message.value("content", Json()));
    }
  }
  return plain;
}

void check_messages(const Json& messages) {
  if (!messages.is_array() || messages.empty()) {
    refuse("\"messages\" must be a list of messages");
  }
  for (const auto& message : messages) {
    if (!message.is_object() || !message.contains("role") ||
        !message["role"].is_string()) {
      refuse("a message needs a \"role\"");
    }
    if (!message.contains("content") && !message.contains("tool_calls")) {
      refuse("a message needs \"content\" or \"tool_calls\"");
    }
    const Json content = message.value("content", Json());
    if (!content.is_string() && !content.is_array() && !content.is_null()) {
      refuse("a message's \"content\" must be a text");
    }
  }
}

/// Templates loop over tools: what isn't a list of objects would be left out,
/// or read letter by letter.
void check_tools(const Json& tools) {
  const auto is_object = [](const Json& tool) { return tool.is_object(); };
  if (!tools.is_null() &&
      !(tools.is_array() &&
        std::all_of(tools.begin(), tools.end(), is_object))) {
    refuse("\"tools\" must be a list of objects");
  }
}

}  // namespace

SampleEncoder::SampleEncoder(
    const Tokenizer& tokenizer,
    const ChatTemplate* chat_template,
    const DatasetOptions& options)
    : tokenizer_(tokenizer), template_(chat_template), options_(options) {}

Ids SampleEncoder::encode_open(const std::string& text) const {
  return encode_prompt(tokenizer_, text);
}

/// A turn begins where the text with the turn stops sharing tokens with the
/// text before it, so that ids are those of the whole conversation.
Sample SampleEncoder::encode_messages(const Json& given, const Json& tools)
    const {
  check_messages(given);
  if (template_ == nullptr) {
    refuse("the model has no chat template to write messages with");
  }
  RenderOptions render;
  render.tools = tools;
  render.bos_text = tokenizer_.bos_text;
  render.eos_text = tokenizer_.eos_text;
  Json messages = plain_messages(given, Absent::stays);
  try {
    template_->render(messages, render);
  } catch (const UserError&) {  // some add a text to what isn't there
    messages = plain_messages(given, Absent::is_empty);
  }
  const auto ids_until = [&](std::size_t count, bool begin_answer) {
    Json part = Json::array();
    for (std::size_t i = 0; i < count; ++i) {
      part.push_back(messages[i]);
    }
    render.add_generation_prompt = begin_answer;
    return encode_open(template_->render(part, render));
  };
  Sample sample;
  sample.ids = ids_until(messages.size(), false);
  sample.learned.assign(sample.ids.size(), options_.mask_prompt ? 0 : 1);
  for (std::size_t i = 0; options_.mask_prompt && i < messages.size(); ++i) {
    if (messages[i]["role"].get_ref<const std::string&>() != "assistant") {
      continue;
    }
    const auto begin =
        i == 0 ? 0 : common_prefix(ids_until(i, true), sample.ids);
    const auto end = common_prefix(ids_until(i + 1, false), sample.ids);
    for (auto t = begin; t < end; ++t) {
      sample.learned[t] = 1;
    }
  }
  if (!sample.learned.empty()) {
    sample.learned[0] = 0;
  }
  return sample;
}

Sample SampleEncoder::encode_completion(
    const std::string& prompt,
    const std::string& completion) const {
  if (template_ != nullptr) {
    return encode_messages(
        Json::array(
            {{{"role", "user"}, {"content", prompt}},
             {{"role", "assistant"}, {"content", completion}}}),
        nullptr);
  }
  Sample sample;
  sample.ids = encode_open(prompt);
  const auto of_prompt = sample.ids.size();
  const Ids rest = tokenizer_.encode(completion, Specials::none);
  sample.ids.insert(sample.ids.end(), rest.begin(), rest.end());
  if (tokenizer_.eos) {
    sample.ids.push_back(*tokenizer_.eos);
  }
  sample.learned.assign(sample.ids.size(), 1);
  if (options_.mask_prompt) {
    std::fill_n(
        sample.learned.begin(),
        static_cast<std::ptrdiff_t>(of_prompt),
        std::uint8_t{0});
  }
  if (!sample.learned.empty()) {
    sample.learned[0] = 0;
  }
  return sample;
}

Sample SampleEncoder::encode_text(const std::string& text) const {
  Sample sample;
  sample.ids = encode_open(text);
  if (tokenizer_.eos &&
      (sample.ids.empty() || sample.ids.back() != *tokenizer_.eos)) {
    sample.ids.push_back(*tokenizer_.eos);
  }
  sample.learned.assign(sample.ids.size(), 1);
  if (!sample.learned.empty()) {
    sample.learned[0] = 0;
  }
  return sample;
}

/// prompt: a text or a list of messages; answer: a text or its messages.
Sample SampleEncoder::encode_answer(
    const Json& prompt,
    const Json& answer,
    const Json& tools) const {
  if (prompt.is_string() && answer.is_string()) {
    return encode_completion(
        prompt.get<std::string>(),
        answer.get<std::string>());
  }
  Json messages = prompt.is_array() ? prompt
                  : prompt.is_string()
                      ? Json::array({{{"role", "user"}, {"content", prompt}}})
                      : Json::array();
  if (answer.is_string()) {
    messages.push_back({{"role", "assistant"}, {"content", answer}});
  } else if (answer.is_array()) {
    messages.insert(messages.end(), answer.begin(), answer.end());
  } else {
    refuse("an answer must be a text or a list of messages");
  }
  return encode_messages(messages, tools);
}

Example SampleEncoder::encode(const Json& line) const {
  if (!line.is_object()) {
    refuse("a line must be a JSON object");
  }
  const Json tools = line.value("tools", Json());
  check_tools(tools);
  if (options_.pairs) {
    if (!line.contains("chosen") || !line.contains("rejected")) {
      refuse("this loss needs \"chosen\" and \"rejected\"");
    }
    const Json prompt = line.value("prompt", Json());
    return {
        encode_answer(prompt, line["chosen"], tools),
        encode_answer(prompt, line["rejected"], tools)};
  }
  if (line.contains("messages")) {
    return {encode_messages(line["messages"], tools), {}};
  }
  if (line.contains("completion")) {
    const Json prompt = line.value("prompt", Json());
    if (prompt.is_array() || line["completion"].is_array()) {
      return {encode_answer(prompt, line["completion"], tools), {}};
    }
    return {
        encode_completion(text_at(line, "prompt"), text_at(line, "completion")),
        {}};
  }
  if (line.contains("text")) {
    return {encode_text(text_at(line, "text")), {}};
  }
  if (line.contains("chosen") && line.contains("rejected")) {
    refuse("a pair of answers needs --loss dpo or --loss orpo");
  }
  if (line.contains("prompt")) {
    refuse("a prompt needs a \"completion\"");
  }
  refuse("it has none of the known keys");
}

}  // namespace roofline
