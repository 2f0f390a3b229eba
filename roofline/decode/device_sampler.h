// What Sampler draws, drawn where the logits are: the token is an array that
// the next step can start from before the host has seen it, so that a GPU never
// waits for the host between two tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <mlx/array.h>

#include "roofline/decode/sampling.h"

namespace roofline {

namespace mx = mlx::core;

class DeviceSampler {
 public:
  /// Whether the options ask for nothing else than temperature, top-k, top-p,
  /// min-p, biases and repetition, presence and frequency penalties.
  static bool can(const SamplingOptions& options);

  /// seed: Sampler::seed(), for the same numbers.
  DeviceSampler(const SamplingOptions& options, std::uint64_t seed);

  /// logits [1, vocab] float32. recent: the tokens that penalties count [n],
  /// int32, n ≥ 1; absent: none. banned: tokens that must not be drawn. step:
  /// Sampler::step(). The token [1] int32, not evaluated; −1 where a logit is
  /// NaN or +inf, or where nothing is left to draw: Sampler says which. It is
  /// Sampler's token but where rounding decides.
  mx::array draw(
      const mx::array& logits,
      const std::optional<mx::array>& recent,
      std::span<const std::int32_t> banned,
      std::uint64_t step) const;

  /// Whether draw() looks at `recent`, and how many tokens; −1: all.
  bool counts_tokens() const;
  int window() const { return options_.penalty_window; }

 private:
  mx::array penalised(const mx::array& row, const mx::array& recent) const;
  mx::array changed(
      const mx::array& logits,
      const std::optional<mx::array>& recent,
      std::span<const std::int32_t> banned) const;
  mx::array kept(const mx::array& row) const;
  mx::array pick(const mx::array& row, std::uint64_t step) const;

  SamplingOptions options_;
  std::uint64_t seed_;
};

}  // namespace roofline
