#include "roofline/decode/stop_rules.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/text/utf8.h"

namespace roofline {

StopStrings::StopStrings(std::vector<std::string> strings)
    : strings_(std::move(strings)) {
  for (const std::string& string : strings_) {
    if (string.empty()) {
      fail<UserError>(
          "A stop string is empty",
          "It would end every answer before its first token",
          "Give it at least one character or leave it out");
    }
    if (first_invalid_utf8(string)) {
      fail<UserError>(
          "A stop string is not valid UTF-8",
          "Answers are UTF-8, so it could never be found",
          "Give it as UTF-8");
    }
  }
}

// Length of the longest stop string that ends at `end` of what is held.
std::size_t StopStrings::match_before(std::size_t end) const {
  const std::string_view text = std::string_view(held_).substr(0, end);
  std::size_t longest = 0;
  for (const std::string& string : strings_) {
    const bool ends = text.size() >= string.size() &&
                      text.substr(text.size() - string.size()) == string;
    longest = ends ? std::max(longest, string.size()) : longest;
  }
  return longest;
}

// Length of the longest tail of what is held that begins a stop string.
std::size_t StopStrings::partial_match() const {
  const std::string_view text = held_;
  std::size_t longest = 0;
  for (const std::string& string : strings_) {
    const std::size_t most = std::min(string.size() - 1, text.size());
    for (std::size_t length = most; length > longest; --length) {
      if (text.substr(text.size() - length) ==
          std::string_view(string).substr(0, length)) {
        longest = length;
      }
    }
  }
  return longest;
}

std::string StopStrings::push(std::string_view piece, bool armed) {
  const std::size_t old = held_.size();
  held_ += piece;
  for (std::size_t end = old + 1; armed && end <= held_.size(); ++end) {
    const std::size_t length = match_before(end);
    if (length > 0) {
      stopped_ = true;
      std::string kept = held_.substr(0, end - length);
      held_.clear();
      return kept;
    }
  }
  // A stop string that begins with a character begins at a character's border,
  // so the cut never lies inside one.
  const std::size_t keep = held_.size() - partial_match();
  std::string out = held_.substr(0, keep);
  held_.erase(0, keep);
  return out;
}

std::string StopStrings::flush() {
  return std::exchange(held_, {});
}

StopTokens::StopTokens(
    std::span<const std::int32_t> eos,
    std::span<const std::int32_t> extra,
    const StopTokenOptions& options)
    : stopping_(extra.begin(), extra.end()), min_tokens_(options.min_tokens) {
  if (options.ignore_eos) {
    for (const std::int32_t token : eos) {
      if (std::find(extra.begin(), extra.end(), token) == extra.end()) {
        banned_always_.push_back(token);
      }
    }
  } else {
    stopping_.insert(stopping_.end(), eos.begin(), eos.end());
  }
  std::sort(stopping_.begin(), stopping_.end());
  banned_early_ = stopping_;
  banned_early_.insert(
      banned_early_.end(),
      banned_always_.begin(),
      banned_always_.end());
}

std::span<const std::int32_t> StopTokens::banned(int generated) const {
  return generated < min_tokens_ ? banned_early_ : banned_always_;
}

bool StopTokens::stops(std::int32_t token) const {
  return std::binary_search(stopping_.begin(), stopping_.end(), token);
}

}  // namespace roofline
