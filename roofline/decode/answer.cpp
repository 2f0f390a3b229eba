#include "roofline/decode/answer.h"

namespace roofline {

Answer::Answer(
    const Tokenizer& tokenizer,
    std::vector<std::string> stop_strings,
    const OnText& on_text)
    : stream_(tokenizer), stops_(std::move(stop_strings)), on_text_(on_text) {}

void Answer::give(std::string_view piece) {
  if (piece.empty()) {
    return;
  }
  text_ += piece;
  if (on_text_) {
    on_text_(piece);
  }
}

bool Answer::push(std::int32_t token, bool armed) {
  give(stops_.push(stream_.push(token), armed));
  return !stops_.stopped();
}

bool Answer::finish(bool armed) {
  if (stops_.stopped()) {
    return false;
  }
  give(stops_.push(stream_.flush(), armed));
  if (stops_.stopped()) {
    return false;
  }
  give(stops_.flush());
  return true;
}

}  // namespace roofline
