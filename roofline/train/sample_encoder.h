// One line of JSONL as token ids, with a mark on each token that the loss
// counts: chat messages, prompt and completion, text, or pairs of answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/text/chat_template.h"
#include "roofline/text/tokenizer.h"

namespace roofline {

struct Sample {
  std::vector<std::int32_t> ids;
  /// One a token: whether predicting it is part of the loss. The first token
  /// is never predicted.
  std::vector<std::uint8_t> learned;

  /// Tokens that go through the model: the last one is only predicted.
  int inputs() const { return static_cast<int>(ids.size()) - 1; }
};

/// What one line gives: a sample, or a pair of answers to one prompt.
struct Example {
  Sample sample;  ///< the chosen one of a pair
  Sample rejected;

  bool is_pair() const { return !rejected.ids.empty(); }
  /// Tokens that go through the model.
  int inputs() const {
    return sample.inputs() + (is_pair() ? rejected.inputs() : 0);
  }
};

struct DatasetOptions {
  int max_tokens = 512;
  bool mask_prompt = true;
  /// Longer samples become several; otherwise their end is cut off.
  bool split_long = false;
  bool pairs = false;  ///< lines must have "chosen" and "rejected"
  /// Sets of more tokens aren't kept: of each example only where it stands and
  /// how long it is, and it is read again whenever its turn comes.
  std::int64_t most_kept_tokens = 16 << 20;
};

/// Encodes lines for one model.
class SampleEncoder {
 public:
  /// chat_template may be null: then messages can't be read, and prompt and
  /// completion are joined as they are. Both must outlive the encoder.
  SampleEncoder(
      const Tokenizer& tokenizer,
      const ChatTemplate* chat_template,
      const DatasetOptions& options);

  /// line: {"messages": […], "tools": […]}, {"prompt", "completion"},
  /// {"text"}, or {"prompt" (text or messages), "chosen", "rejected"}. A list
  /// of texts as content is one text. Throws UserError with the reason when it
  /// is none of these.
  Example encode(const nlohmann::ordered_json& line) const;

 private:
  Sample encode_messages(
      const nlohmann::ordered_json& given,
      const nlohmann::ordered_json& tools) const;
  Sample encode_completion(
      const std::string& prompt,
      const std::string& completion) const;
  Sample encode_text(const std::string& text) const;
  Sample encode_answer(
      const nlohmann::ordered_json& prompt,
      const nlohmann::ordered_json& answer,
      const nlohmann::ordered_json& tools) const;
  std::vector<std::int32_t> encode_open(const std::string& text) const;

  const Tokenizer& tokenizer_;
  const ChatTemplate* template_;
  DatasetOptions options_;
};

}  // namespace roofline
