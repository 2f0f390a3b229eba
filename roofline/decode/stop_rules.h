// When an answer ends: stop strings, which may begin in one token and end in
// another, and stop tokens. Text that could still become a stop string is held
// back, so that no part of one is ever printed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roofline {

/// Text in pieces in, text that is sure to be kept out. The result does not
/// depend on how the text is cut: the stop string that is complete first wins
/// (of several that end at the same place the longest).
class StopStrings {
 public:
  /// Throws UserError when a string is empty or not UTF-8.
  explicit StopStrings(std::vector<std::string> strings);

  /// piece: whole UTF-8 characters. Returns what can be printed now. Strings
  /// that end in a piece with `armed` false are let through (min_tokens).
  /// After stopped() it must not be called again.
  std::string push(std::string_view piece, bool armed = true);
  /// What is still held back, when the answer ends for another reason.
  std::string flush();

  /// A stop string was found; nothing of it or behind it is given out.
  bool stopped() const { return stopped_; }

 private:
  std::size_t match_before(std::size_t end) const;
  std::size_t partial_match() const;

  std::vector<std::string> strings_;
  std::string held_;
  bool stopped_ = false;
};

struct StopTokenOptions {
  int min_tokens = 0;
  bool ignore_eos = false;
};

/// Which tokens end the answer, and which must not be drawn yet.
class StopTokens {
 public:
  /// eos: the model's own; extra: the caller's. ignore_eos bans the model's own
  /// for the whole answer; the caller's still stop it.
  StopTokens(
      std::span<const std::int32_t> eos,
      std::span<const std::int32_t> extra,
      const StopTokenOptions& options);

  /// What must not be drawn as the next token after `generated` tokens.
  std::span<const std::int32_t> banned(int generated) const;
  bool stops(std::int32_t token) const;

 private:
  std::vector<std::int32_t> stopping_;  // sorted
  std::vector<std::int32_t> banned_early_;
  std::vector<std::int32_t> banned_always_;
  int min_tokens_ = 0;
};

}  // namespace roofline
