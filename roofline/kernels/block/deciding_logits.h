// Which logits of a row decide what is drawn from it. Where not all do, a step
// needn't make the others (step_head.cpp).
#pragma once

#include <cstdint>

#include "roofline/base/gumbel_noise.h"

namespace roofline {

/// The others may be estimates: with their noise, if there is any, none is
/// above these.
struct DecidingLogits {
  /// So many of the largest; 0: all logits.
  int largest = 0;
  /// These, and all that are less than this below the last of them.
  float depth = 0;
  /// Largest when so many times `noise` was added to each: an estimate may be
  /// above all true logits, and has so much less noise.
  float temperature = 0;
  GumbelNoise noise = {};

  bool all() const { return largest == 0; }
  /// What is added to a token's logit.
  float noise_of(int token) const {
    return temperature * noise.of(static_cast<std::uint32_t>(token));
  }
  /// At least that of each token of a block.
  float most_noise_of(int block) const {
    return temperature * noise.most_of(static_cast<std::uint32_t>(block));
  }
  /// What decides in so many rows: noise is of one, so of several all logits
  /// do.
  DecidingLogits of_rows(int rows) const {
    return rows > 1 && temperature > 0 ? DecidingLogits{} : *this;
  }
};

}  // namespace roofline
