// Chat templates: messages in, prompt text out, as `transformers` renders them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace roofline {

struct RenderOptions {
  /// JSON array of tool definitions; null: the template sees none.
  nlohmann::ordered_json tools;
  bool add_generation_prompt = false;
  std::string bos_text, eos_text;
  /// Further variables the template may read, e.g. {"enable_thinking": false}.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
};

class ChatTemplate {
 public:
  /// Compiles the template. Throws CheckpointError with line and reason.
  explicit ChatTemplate(std::string_view source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  /// messages: JSON array of {"role", "content", …}. Throws UserError with the
  /// template's own words when it calls raise_exception.
  std::string render(
      const nlohmann::ordered_json& messages,
      const RenderOptions& options) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace roofline
