#include "roofline/decode/random.h"

#include <random>

namespace roofline {

namespace {

// Multipliers and key increments of the paper's section 4.3.
constexpr std::uint64_t kMultiplier0 = 0xD2511F53;
constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
constexpr std::uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

/// What numbers are for; each purpose has its own sequence.
enum class DrawPurpose : std::uint32_t { token = 0, xtc = 1 };

std::array<std::uint32_t, 4> block_of(
    std::uint64_t seed,
    std::uint64_t step,
    DrawPurpose purpose) {
  return philox(
      {static_cast<std::uint32_t>(step),
       static_cast<std::uint32_t>(step >> 32),
       static_cast<std::uint32_t>(purpose),
       0},
      {static_cast<std::uint32_t>(seed),
       static_cast<std::uint32_t>(seed >> 32)});
}

}  // namespace

std::array<std::uint32_t, 4> philox(
    std::array<std::uint32_t, 4> counter,
    std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t p0 = kMultiplier0 * counter[0];
    const std::uint64_t p1 = kMultiplier1 * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0],
        static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1],
        static_cast<std::uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

double xtc_draw(std::uint64_t seed, std::uint64_t step) {
  const auto bits = block_of(seed, step, DrawPurpose::xtc);
  const std::uint64_t whole =
      (static_cast<std::uint64_t>(bits[0]) << 32) | bits[1];
  return static_cast<double>(whole >> 11) * 0x1p-53;
}

GumbelNoise token_noise(std::uint64_t seed, std::uint64_t step) {
  const auto bits = block_of(seed, step, DrawPurpose::token);
  return {bits[0], bits[1]};
}

std::uint64_t system_seed() {
  std::random_device device;
  return device();
}

}  // namespace roofline
