// Gumbel noise for a draw of one of many: the largest of
// logit / temperature + noise is where a draw from softmax(logit / temperature)
// falls (Gumbel 1954; Maddison, Tarlow and Minka 2014, "A* Sampling"). It is
// hashed from a token's id, so that whoever needs a token's noise makes it, and
// the largest of a block of tokens is known before any of theirs: to find where
// a draw falls takes neither all noises nor all logits.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace roofline {

/// A token's noise is −ln E with E from the exponential distribution. The least
/// E of a block is a share of one, 1 / kBlock, of a token that chance picks; as
/// the distribution has no memory, the others are that and another E of their
/// own.
class GumbelNoise {
 public:
  /// Tokens of a block: from a multiple of it on.
  static constexpr std::uint32_t kBlock = 16;

  GumbelNoise() = default;
  /// Of one draw: two numbers that no other has.
  GumbelNoise(std::uint32_t first, std::uint32_t second)
      : first_(first), second_(second) {}

  std::uint32_t first() const { return first_; }
  std::uint32_t second() const { return second_; }

  /// A token's, at least −ln 18 and at most −ln 2⁻³⁷.
  float of(std::uint32_t token) const {
    const std::uint32_t block = token / kBlock;
    const double least = exponential(kBlocks + block) / kBlock;
    const bool picked = bits(kPicks + block) % kBlock == token % kBlock;
    return static_cast<float>(
        -std::log(picked ? least : least + exponential(token)));
  }

  /// At least the noise of each token of the block, and little more than the
  /// largest. In a loop it becomes vector code.
  float most_of(std::uint32_t block) const {
    // −ln(1 − x) ≥ x, and the bits of a float are a chord below its logarithm.
    constexpr float kLn2 = 0.693147182f;
    constexpr float kPerOctave = 1 << 23;
    static_assert(std::has_single_bit(kBlock));
    constexpr float kBias = 127 + std::bit_width(kBlock) - 1;  // + log2
    // Logarithm and chord are rounded in several ways.
    constexpr float kRounding = 1e-5f;
    const auto octaves = std::bit_cast<std::int32_t>(share(kBlocks + block));
    return (kBias - static_cast<float>(octaves) / kPerOctave) * kLn2 +
           kRounding;
  }

  /// What is hashed: tokens have their own ids, and blocks two more.
  static constexpr std::uint32_t kBlocks = 1u << 31;
  static constexpr std::uint32_t kPicks = 3u << 30;
  /// Two rounds of a mixer of 32 bits, a number of the draw before each. The
  /// mixer is Wellons' "lowbias32" (2018), found by search for even avalanche.
  static constexpr std::uint32_t kFactor0 = 0x7feb352d;
  static constexpr std::uint32_t kFactor1 = 0x846ca68b;
  /// Where a share is rounded to 1.
  static constexpr float kLargestShare = 1 - 0x1p-24f;

 private:
  static std::uint32_t mix(std::uint32_t x) {
    x ^= x >> 16;
    x *= kFactor0;
    x ^= x >> 15;
    x *= kFactor1;
    return x ^ (x >> 16);
  }

  std::uint32_t bits(std::uint32_t id) const {
    return mix(mix(id + first_) ^ second_);
  }

  /// Even between 0 and 1.
  float share(std::uint32_t id) const {
    // By halves: there is no vector code for unsigned numbers of 32 bits.
    const std::uint32_t all = bits(id);
    const auto high = static_cast<float>(static_cast<std::int32_t>(all >> 16));
    const auto low =
        static_cast<float>(static_cast<std::int32_t>(all & 0xffff));
    return (high * 0x1p16f + low + 0.5f) * 0x1p-32f;
  }

  double exponential(std::uint32_t id) const {
    const float at = share(id);
    return -std::log1p(-double{at < kLargestShare ? at : kLargestShare});
  }

  std::uint32_t first_ = 0;
  std::uint32_t second_ = 0;
};

}  // namespace roofline
