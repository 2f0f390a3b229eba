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

#include "roofline/base/cpu_features.h"

namespace roofline {

constexpr int kMostPromptLookup = 32;

/// What a step takes that checks guesses, in plain steps.
struct StepCosts {
  std::array<double, 9> first;  ///< with 0 to 8 guesses
  double further;               ///< for each guess beyond these

  double of(int guesses) const;
  /// The same steps beside plain ones that take this share of what they took.
  StepCosts beside(double plain) const;
};

/// With the kernels of this instruction set: where a step waits for memory a
/// row is nearly free, where it is bound by arithmetic it is not.
const StepCosts& usual_step_costs(Isa isa);

class PromptLookup {
 public:
  /// Starts a sequence with `prompt`, for a model whose steps cost so much.
  explicit PromptLookup(
      std::span<const std::int32_t> prompt,
      const StepCosts& costs = usual_step_costs(Isa::avx512));

  /// The next token, whether it was guessed, run or drawn. O(1).
  void push(std::int32_t token);

  /// At most `most` tokens that may follow; fewer, or none, when that is
  /// likely to be faster. Valid until the next call.
  std::span<const std::int32_t> propose(int most);

  /// Like propose(), but all there is to say: where the longest run of tokens
  /// at the end occurred before, and what followed. For tests.
  std::span<const std::int32_t> follow(int most);

 private:
  /// How often guesses of a kind came true.
  struct Trust {
    double tries, hits;
  };
  /// Where a gram occurred last.
  struct Place {
    std::size_t behind = 0;  ///< of the token after it
    /// Something else followed the time before.
    bool disputed = false;
  };
  static constexpr int kShortestGram = 1;
  static constexpr int kLongestGram = 4;
  static constexpr int kLongestMatch = 8;  ///< longer ones count as this

  void add(std::int32_t token);
  void find();
  std::uint64_t gram(std::size_t end, int length) const;
  bool ends_alike(std::size_t end, int length) const;
  bool is_disputed() const;
  Trust& trust(int further);
  int worthwhile(int most);

  StepCosts costs_;
  std::vector<std::int32_t> tokens_;
  std::unordered_map<std::uint64_t, Place> places_;  ///< of grams, all lengths
  /// The token at from_ is the guess; the matched_ tokens before it are the
  /// latest ones. 0: no guess.
  std::size_t from_ = 0;
  int matched_ = 0;
  bool disputed_ = false;  ///< of the place that was followed
  /// By the number of tokens that match, and whether the place is disputed.
  std::array<std::array<Trust, 2>, kLongestMatch + 1> trust_;
  std::vector<std::int32_t> guess_;
};

}  // namespace roofline
