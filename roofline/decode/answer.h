// The text of an answer as it grows: tokens in, printable text out, through the
// stream decoder and the stop strings.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "roofline/decode/stop_rules.h"
#include "roofline/text/tokenizer.h"

namespace roofline {

class Answer {
 public:
  using OnText = std::function<void(std::string_view)>;

  /// tokenizer and on_text must outlive it; on_text may be empty.
  Answer(
      const Tokenizer& tokenizer,
      std::vector<std::string> stop_strings,
      const OnText& on_text);

  /// armed: whether a stop string that this token completes counts. False when
  /// one was found; then nothing more may be pushed.
  bool push(std::int32_t token, bool armed);
  /// Gives out what is held back, unless a stop string was found. False when
  /// the last of it completes one.
  bool finish(bool armed);

  const std::string& text() const { return text_; }

 private:
  void give(std::string_view piece);

  StreamDecoder stream_;
  StopStrings stops_;
  const OnText& on_text_;
  std::string text_;
};

}  // namespace roofline
