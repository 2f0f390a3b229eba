#include "roofline/decode/prompt_lookup.h"

#include <algorithm>
#include <array>

namespace roofline {

namespace {

/// While 135M parameters in 4 bits answered, 400 to 600 tokens deep, two cores.
/// Constants, because where the sums of several rows differ in a last bit, an
/// answer must not depend on a clock.
constexpr StepCosts kAvx512Costs{
    {1.0, 1.12, 1.26, 1.5, 1.71, 1.95, 2.08, 2.21, 2.52},
    0.31};
/// A Zen 3, 512 tokens deep: without products of bytes in one instruction a row
/// costs two to three times as much of a step.
constexpr StepCosts kAvx2Costs{
    {1.0, 1.37, 1.9, 2.3, 3.0, 3.5, 4.05, 4.6, 5.1},
    0.46};

/// Of guesses behind 1 to 8 tokens that match, the share that came true: of
/// those that nothing speaks against, and where something else followed the
/// time before (28 answers of a model of 135M to 14 prompts: to summarise, to
/// list, to edit code, to tell).
constexpr std::array kUsualShares{0.3, 0.5, 0.62, 0.75, 0.75, 0.85, 0.92, 0.96};
constexpr std::array kDisputedShares{0.12, 0.18, 0.3, 0.5, 0.5, 0.5, 0.6, 0.6};
/// So many tries are these shares worth.
constexpr double kFirstTries = 8;
/// How much a try still counts after the next one: the latest 64 decide.
constexpr double kMemory = 1 - 1.0 / 64;

}  // namespace

double StepCosts::of(int guesses) const {
  constexpr int kLast =
      static_cast<int>(std::tuple_size_v<decltype(first)>) - 1;
  return first[static_cast<std::size_t>(std::min(guesses, kLast))] +
         further * std::max(0, guesses - kLast);
}

StepCosts StepCosts::beside(double plain) const {
  StepCosts costs{first, further / plain};
  for (auto cost = costs.first.begin() + 1; cost != costs.first.end(); ++cost) {
    *cost /= plain;
  }
  return costs;
}

const StepCosts& usual_step_costs(Isa isa) {
  return isa == Isa::avx2 ? kAvx2Costs : kAvx512Costs;
}

PromptLookup::PromptLookup(
    std::span<const std::int32_t> prompt,
    const StepCosts& costs)
    : costs_(costs) {
  static_assert(kUsualShares.size() == kLongestMatch);
  static_assert(kDisputedShares.size() == kLongestMatch);
  trust_[0] = {Trust{1, 0}, Trust{1, 0}};
  for (std::size_t i = 0; i < kLongestMatch; ++i) {
    trust_[i + 1] = {
        Trust{kFirstTries, kFirstTries * kUsualShares[i]},
        Trust{kFirstTries, kFirstTries * kDisputedShares[i]}};
  }
  tokens_.reserve(prompt.size());
  for (const std::int32_t token : prompt) {
    add(token);
  }
  find();
}

/// The next token, which lies behind the grams that end here.
void PromptLookup::add(std::int32_t token) {
  const std::size_t size = tokens_.size();
  for (int n = kShortestGram; n <= kLongestGram; ++n) {
    if (size >= static_cast<std::size_t>(n)) {
      const auto [place, is_new] = places_.try_emplace(gram(size, n));
      const bool other = !is_new && tokens_[place->second.behind] != token;
      place->second = {size, other};
    }
  }
  tokens_.push_back(token);
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
  disputed_ = false;
  const int longest =
      static_cast<int>(std::min<std::size_t>(kLongestGram, tokens_.size()));
  for (int n = longest; n >= kShortestGram && matched_ == 0; --n) {
    const auto found = places_.find(gram(tokens_.size(), n));
    if (found != places_.end() && ends_alike(found->second.behind, n)) {
      from_ = found->second.behind;
      disputed_ = found->second.disputed;
      matched_ = n;
    }
  }
  while (matched_ > 0 && matched_ < kLongestMatch &&
         ends_alike(from_, matched_ + 1)) {
    ++matched_;
  }
}

/// Whether what follows the latest tokens changed from one time to the next.
bool PromptLookup::is_disputed() const {
  const int length = std::min(matched_, kLongestGram);
  const auto found = places_.find(gram(tokens_.size(), length));
  return found != places_.end() && found->second.disputed;
}

/// Of the guess after so many further ones, which themselves must come true.
PromptLookup::Trust& PromptLookup::trust(int further) {
  const auto matched =
      static_cast<std::size_t>(std::min(matched_ + further, kLongestMatch));
  return trust_[matched][further == 0 && disputed_ ? 1 : 0];
}

void PromptLookup::push(std::int32_t token) {
  const bool guessed = matched_ > 0;
  const bool hit = guessed && tokens_[from_] == token;
  if (guessed) {
    // Learnt from every guess, also from those that weren't proposed: so it
    // shows when they begin to come true.
    Trust& known = trust(0);
    known.tries = known.tries * kMemory + 1;
    known.hits = known.hits * kMemory + (hit ? 1 : 0);
  }
  add(token);
  if (hit) {
    ++from_;
    matched_ = std::min(matched_ + 1, kLongestMatch);
    disputed_ = is_disputed();
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
    const Trust& known = trust(count - 1);
    chance *= known.hits / known.tries;
    expected += chance;
    const double rate = expected / costs_.of(count);
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
