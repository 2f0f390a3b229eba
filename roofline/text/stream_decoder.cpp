#include <variant>

#include "roofline/text/crate_tokenizer.h"

namespace roofline {

namespace {

/// For tokenizers whose decoder needs its neighbours: decodes a short window
/// twice and passes on what the new token added.
class WindowStream {
 public:
  explicit WindowStream(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  std::string push(std::int32_t id) {
    window_.push_back(id);
    return advance(false);
  }
  std::string flush() { return advance(true); }

 private:
  /// Longer than any character's byte tokens, so that a faulty run of them
  /// can't grow the window.
  static constexpr std::size_t kLongestWindow = 16;

  std::string advance(bool at_end) {
    const std::string text = tokenizer_->decode(window_);
    const bool open = text.ends_with("\xEF\xBF\xBD");
    if (open && !at_end && window_.size() < kLongestWindow) {
      return {};
    }
    std::string fresh = text.substr(std::min(printed_, text.size()));
    // One token stays, so that the next one sees what comes before it.
    window_.erase(window_.begin(), window_.end() - (window_.empty() ? 0 : 1));
    printed_ = tokenizer_->decode(window_).size();
    return fresh;
  }

  const Tokenizer* tokenizer_;
  std::vector<std::int32_t> window_;
  std::size_t printed_ = 0;
};

struct RuleStream {
  const CrateTokenizer* tokenizer;
  PieceStream pieces;

  std::string push(std::int32_t id) {
    std::string out;
    const TokenPiece token = tokenizer->piece(id);
    if (token.known && !token.special) {
      pieces.push(token.text, token.added, out);
    }
    return out;
  }
  std::string flush() {
    std::string out;
    pieces.flush(out);
    return out;
  }
};

std::variant<RuleStream, WindowStream> make_stream(const Tokenizer& tokenizer) {
  const auto* crate = dynamic_cast<const CrateTokenizer*>(&tokenizer);
  if (crate != nullptr && crate->decode_rules()) {
    return RuleStream{crate, PieceStream(*crate->decode_rules())};
  }
  return WindowStream(tokenizer);
}

}  // namespace

struct StreamDecoder::State {
  std::variant<RuleStream, WindowStream> stream;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer)
    : state_(std::make_unique<State>(State{make_stream(tokenizer)})) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(std::int32_t id) {
  return std::visit(
      [id](auto& stream) { return stream.push(id); },
      state_->stream);
}

std::string StreamDecoder::flush() {
  return std::visit(
      [](auto& stream) { return stream.flush(); },
      state_->stream);
}

}  // namespace roofline
