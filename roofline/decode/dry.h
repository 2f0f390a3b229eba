// DRY ("don't repeat yourself"): a token that would lengthen a run of tokens
// which already occurred is penalised by multiplier · base^(run −
// allowed_length), where run is the length of what would be repeated. Linear
// in the history. Runs end at breakers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "roofline/decode/sampling.h"

namespace roofline {

/// One token and the length of the longest run that it would lengthen.
struct RepeatedRun {
  std::int32_t token = 0;
  int length = 0;
};

/// For each token that followed an earlier occurrence of the history's end:
/// the longest such run, of at least `allowed_length` tokens. Ordered by token.
/// sorted_breakers: never part of a run, never reported.
std::vector<RepeatedRun> repeated_runs(
    std::span<const std::int32_t> history,
    std::span<const std::int32_t> sorted_breakers,
    int allowed_length);

/// Subtracts the penalties from logits [vocab].
void apply_dry(
    std::span<float> logits,
    std::span<const std::int32_t> history,
    std::span<const std::int32_t> sorted_breakers,
    const DryOptions& options);

}  // namespace roofline
