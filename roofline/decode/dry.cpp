#include "roofline/decode/dry.h"

#include <algorithm>
#include <cmath>

#include "roofline/decode/penalties.h"

namespace roofline {

namespace {

// Past this a logit is out of the race; float must not overflow.
constexpr double kLargestDryPenalty = 1e6;

// z[i]: how many tokens the sequence read backwards from the end has in common
// with the one read backwards from i places before the end (the Z function of
// the reversed history).
std::vector<int> common_suffixes(std::span<const std::int32_t> history) {
  const int n = static_cast<int>(history.size());
  const auto back = [&](int i) { return history[n - 1 - i]; };
  std::vector<int> z(n, 0);
  int left = 0;
  int right = 0;
  for (int i = 1; i < n; ++i) {
    int length = i < right ? std::min(right - i, z[i - left]) : 0;
    while (i + length < n && back(length) == back(i + length)) {
      ++length;
    }
    z[i] = length;
    if (i + length > right) {
      left = i;
      right = i + length;
    }
  }
  return z;
}

}  // namespace

std::vector<RepeatedRun> repeated_runs(
    std::span<const std::int32_t> history,
    std::span<const std::int32_t> sorted_breakers,
    int allowed_length) {
  const auto breaks = [&](std::int32_t token) {
    return std::binary_search(
        sorted_breakers.begin(),
        sorted_breakers.end(),
        token);
  };
  const int n = static_cast<int>(history.size());
  int unbroken = 0;
  while (unbroken < n && !breaks(history[n - 1 - unbroken])) {
    ++unbroken;
  }
  std::vector<RepeatedRun> runs;
  if (unbroken < allowed_length) {
    return runs;
  }
  const std::vector<int> z = common_suffixes(history);
  for (int i = 1; i < n; ++i) {
    const int length = std::min(z[i], unbroken);
    const std::int32_t next = history[n - i];
    if (length >= allowed_length && !breaks(next)) {
      runs.push_back({next, length});
    }
  }
  std::sort(runs.begin(), runs.end(), [](const auto& a, const auto& b) {
    return a.token != b.token ? a.token < b.token : a.length > b.length;
  });
  const auto same = [](const auto& a, const auto& b) {
    return a.token == b.token;
  };
  runs.erase(std::unique(runs.begin(), runs.end(), same), runs.end());
  return runs;
}

void apply_dry(
    std::span<float> logits,
    std::span<const std::int32_t> history,
    std::span<const std::int32_t> sorted_breakers,
    const DryOptions& options) {
  const auto window = last_tokens(history, options.window_tokens);
  for (const RepeatedRun& run :
       repeated_runs(window, sorted_breakers, options.allowed_length)) {
    const double penalty =
        options.multiplier *
        std::pow(options.base, run.length - options.allowed_length);
    logits[run.token] -=
        static_cast<float>(std::min(penalty, kLargestDryPenalty));
  }
}

}  // namespace roofline
