// Guesses what comes next by looking it up (Saxena 2023, prompt lookup
// decoding): where the latest tokens occurred before, the tokens that followed
// then may follow again. Guesses cost a row each in the step that checks them,
// so how many are made depends on how often guesses of this kind came true.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace roofline {

constexpr int kMostPromptLookup = 32;

class PromptLookup {
 public:
  /// Starts a sequence with `prompt`.
  explicit PromptLookup(std::span<const std::int32_t> prompt);

  /// The next token, whether it was guessed, run or drawn. O(1).
  void push(std::int32_t token);

  /// At most `most` tokens that may follow; fewer, or none, when that is
  /// likely to be faster. Valid until the next call.
  std::span<const std::int32_t> propose(int most);

  /// Like propose(), but all there is to say: where the longest run of tokens
  /// at the end occurred before, and what followed. For tests.
  std::span<const std::int32_t> follow(int most);

 private:
  /// What agreed so often with the tokens before a guess.
  struct Trust {
    double tries, hits;
  };
  static constexpr int kShortestGram = 1;
  static constexpr int kLongestGram = 4;
  static constexpr int kLongestMatch = 8;  ///< longer ones count as this

  void index();
  void find();
  std::uint64_t gram(std::size_t end, int length) const;
  bool ends_alike(std::size_t end, int length) const;
  Trust& trust(int matched);
  int worthwhile(int most);

  std::vector<std::int32_t> tokens_;
  /// Grams of each length: where the token behind the latest one lies.
  std::unordered_map<std::uint64_t, std::size_t> behind_;
  /// The token at from_ is the guess; the matched_ tokens before it are the
  /// latest ones. 0: no guess.
  std::size_t from_ = 0;
  int matched_ = 0;
  std::array<Trust, kLongestMatch + 1> trust_;
  std::vector<std::int32_t> guess_;
};

}  // namespace roofline
