#include "roofline/text/chat_template.h"

#include "roofline/text/bridge_call.h"

namespace roofline {

namespace {

struct TemplateDeleter {
  void operator()(rb_template* handle) const { rb_template_free(handle); }
};

/// Templates know a message's reasoning by different names. As in
/// `transformers`, the first that is set is also given as reasoning_content,
/// and as thinking unless there is one.
nlohmann::ordered_json with_reasoning_names(nlohmann::ordered_json messages) {
  for (auto& message : messages) {
    if (!message.is_object()) {
      continue;
    }
    for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
      const auto found = message.find(name);
      if (found == message.end() || found->is_null()) {
        continue;
      }
      const nlohmann::ordered_json reasoning = *found;
      nlohmann::ordered_json named = {{"thinking", reasoning}};
      named.update(message);
      named["reasoning_content"] = reasoning;
      message = std::move(named);
      break;
    }
  }
  return messages;
}

nlohmann::ordered_json variables_of(
    const nlohmann::ordered_json& messages,
    const RenderOptions& options) {
  nlohmann::ordered_json variables = {
      {"messages", with_reasoning_names(messages)},
      {"tools", options.tools},
      {"documents", nullptr},
      {"add_generation_prompt", options.add_generation_prompt},
  };
  // `transformers` leaves a token out that the tokenizer doesn't have, so that
  // the template sees it as undefined.
  if (!options.bos_text.empty()) {
    variables["bos_token"] = options.bos_text;
  }
  if (!options.eos_text.empty()) {
    variables["eos_token"] = options.eos_text;
  }
  for (const auto& [name, value] : options.variables.items()) {
    variables[name] = value;
  }
  return variables;
}

}  // namespace

struct ChatTemplate::State {
  std::unique_ptr<rb_template, TemplateDeleter> handle;
};

ChatTemplate::ChatTemplate(std::string_view source)
    : state_(std::make_unique<State>()) {
  rb_template* handle = nullptr;
  BridgeBuffer error;
  require_ok(
      rb_template_compile(view_of(source), &handle, error.out()),
      error,
      {"The chat template can't be compiled",
       "Correct the template, or give another one"});
  state_->handle.reset(handle);
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(
    const nlohmann::ordered_json& messages,
    const RenderOptions& options) const {
  const std::string variables = variables_of(messages, options).dump();
  BridgeBuffer text, error;
  require_ok(
      rb_template_render(
          state_->handle.get(),
          view_of(variables),
          text.out(),
          error.out()),
      error,
      {"The chat template refused the messages", ""});
  return std::string(text.text());
}

}  // namespace roofline
