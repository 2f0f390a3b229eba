#include "roofline/decode/prompt_lookup.h"

#include <algorithm>

namespace roofline {

namespace {

/// A further row in a step, in steps: 0.12 to 0.25 for 1 to 32 rows
/// (bench/step_bench, 135M parameters in 4 bits, AVX-512, two cores); answers
/// with other values between these take as long. A constant, because where the
/// sums of several rows differ in a last bit, an answer must not depend on a
/// clock.
constexpr double kRowCost = 0.16;
/// A guess of a kind not tried yet is as good as this many tries, half of them
/// hits.
constexpr double kFirstTries = 2;
/// Where one token alone is alike, fewer: none is proposed until they come
/// true.
constexpr double kFirstLoneHits = 0.15 * kFirstTries;
/// How much a try still counts after the next one: the latest 32 decide.
constexpr double kMemory = 1 - 1.0 / 32;

}  // namespace

PromptLookup::PromptLookup(std::span<const std::int32_t> prompt) {
  trust_.fill({kFirstTries, kFirstTries / 2});
  trust_[1].hits = kFirstLoneHits;
  tokens_.reserve(prompt.size());
  for (const std::int32_t token : prompt) {
    index();
    tokens_.push_back(token);
  }
  find();
}

/// Notes that the next token lies behind the grams that end here.
void PromptLookup::index() {
  const std::size_t size = tokens_.size();
  for (int n = kShortestGram; n <= kLongestGram; ++n) {
    if (size >= static_cast<std::size_t>(n)) {
      behind_[gram(size, n)] = size;
    }
  }
}

/// Hash of the `length` tokens before `end`.
std::uint64_t PromptLookup::gram(std::size_t end, int length) const {
  auto hash = static_cast<std::uint64_t>(length);
  for (std::size_t i = end - length; i < end; ++i) {
    hash =
        (hash ^ static_cast<std::uint32_t>(tokens_[i])) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  return hash;
}

/// Whether the `length` tokens before `end` are the latest ones.
bool PromptLookup::ends_alike(std::size_t end, int length) const {
  const auto n = static_cast<std::ptrdiff_t>(length);
  const auto at = tokens_.begin() + static_cast<std::ptrdiff_t>(end);
  return end >= static_cast<std::size_t>(length) &&
         std::equal(at - n, at, tokens_.end() - n);
}

/// The place behind the longest gram that ends the sequence and occurred
/// before, the latest if there are several.
void PromptLookup::find() {
  matched_ = 0;
  const int longest =
      static_cast<int>(std::min<std::size_t>(kLongestGram, tokens_.size()));
  for (int n = longest; n >= kShortestGram && matched_ == 0; --n) {
    const auto found = behind_.find(gram(tokens_.size(), n));
    if (found != behind_.end() && ends_alike(found->second, n)) {
      from_ = found->second;
      matched_ = n;
    }
  }
  while (matched_ > 0 && matched_ < kLongestMatch &&
         ends_alike(from_, matched_ + 1)) {
    ++matched_;
  }
}

PromptLookup::Trust& PromptLookup::trust(int matched) {
  return trust_[std::min(matched, kLongestMatch)];
}

void PromptLookup::push(std::int32_t token) {
  const bool guessed = matched_ > 0;
  const bool hit = guessed && tokens_[from_] == token;
  if (guessed) {
    // Learnt from every guess, also from those that weren't proposed: so it
    // shows when they begin to come true.
    Trust& known = trust(matched_);
    known.tries = known.tries * kMemory + 1;
    known.hits = known.hits * kMemory + (hit ? 1 : 0);
  }
  index();
  tokens_.push_back(token);
  if (hit) {
    ++from_;
    matched_ = std::min(matched_ + 1, kLongestMatch);
  } else {
    find();
  }
}

/// The number of guesses that makes the most tokens in a step's time.
int PromptLookup::worthwhile(int most) {
  int best = 0;
  double best_rate = 1;
  double chance = 1;
  double expected = 1;
  for (int count = 1; count <= most; ++count) {
    const Trust& known = trust(matched_ + count - 1);
    chance *= known.hits / known.tries;
    expected += chance;
    const double rate = expected / (1 + kRowCost * count);
    if (rate > best_rate) {
      best = count;
      best_rate = rate;
    }
  }
  return best;
}

std::span<const std::int32_t> PromptLookup::propose(int most) {
  return follow(matched_ > 0 ? worthwhile(most) : 0);
}

std::span<const std::int32_t> PromptLookup::follow(int most) {
  guess_.clear();
  for (int i = 0; matched_ > 0 && i < most; ++i) {
    // Beyond the end a run that repeats itself goes on repeating.
    const std::size_t at = from_ + static_cast<std::size_t>(i);
    guess_.push_back(
        at < tokens_.size() ? tokens_[at] : guess_[at - tokens_.size()]);
  }
  return guess_;
}

}  // namespace roofline
