#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/decode/sampling.h"

namespace roofline {

namespace {

// Beyond these a value can only be a mistake: every sampled token would be the
// same as at the bound.
constexpr double kLargestTemperature = 100;
constexpr double kLargestPenalty = 100;
constexpr double kLargestBias = 1000;
constexpr int kMostLogprobs = 1000;

struct Range {
  const char* name;
  double value;
  double low, high;
};

void check_range(const Range& range) {
  // Written so that NaN fails.
  if (range.value >= range.low && range.value <= range.high) {
    return;
  }
  const bool open = range.high >= std::numeric_limits<int>::max();
  fail<UserError>(
      fmt::format("{} is {:g}", range.name, range.value),
      open ? fmt::format("It must be at least {:g}", range.low)
           : fmt::format("It must lie in {:g} to {:g}", range.low, range.high),
      "Give a value in this range or leave the option out");
}

void check_bias(std::int32_t token, float bias) {
  const bool bans = std::isinf(bias) && bias < 0;
  if (token >= 0 && (bans || std::abs(bias) <= kLargestBias)) {
    return;
  }
  fail<UserError>(
      fmt::format("logit_bias of token {} is {:g}", token, bias),
      fmt::format(
          "A token id is at least 0, and a bias lies in -{0:g} to {0:g} or is "
          "-inf",
          kLargestBias),
      "Use -inf to ban a token");
}

}  // namespace

void validate(const SamplingOptions& options) {
  constexpr double most = std::numeric_limits<int>::max();
  const DryOptions& dry = options.dry;
  // The smallest repetition penalty keeps 1 / penalty finite and sensible.
  const std::array ranges = {
      Range{"temperature", options.temperature, 0, kLargestTemperature},
      Range{"top_k", double(options.top_k), 0, most},
      Range{"top_p", options.top_p, 0, 1},
      Range{"min_p", options.min_p, 0, 1},
      Range{"typical_p", options.typical_p, 0, 1},
      Range{"xtc_probability", options.xtc_probability, 0, 1},
      Range{"xtc_threshold", options.xtc_threshold, 0, 1},
      Range{
          "repetition_penalty",
          options.repetition_penalty,
          0.01f,
          kLargestPenalty},
      Range{
          "presence_penalty",
          options.presence_penalty,
          -kLargestPenalty,
          kLargestPenalty},
      Range{
          "frequency_penalty",
          options.frequency_penalty,
          -kLargestPenalty,
          kLargestPenalty},
      Range{"penalty_window", double(options.penalty_window), -1, most},
      Range{"dry_multiplier", dry.multiplier, 0, kLargestPenalty},
      Range{"dry_base", dry.base, 1, kLargestPenalty},
      Range{"dry_allowed_length", double(dry.allowed_length), 1, most},
      Range{"dry_window", double(dry.window_tokens), -1, most},
      Range{"top_logprobs", double(options.top_logprobs), 0, kMostLogprobs},
  };
  for (const Range& range : ranges) {
    check_range(range);
  }
  for (const std::string& breaker : dry.sequence_breakers) {
    if (breaker.empty()) {
      fail<UserError>(
          "dry_sequence_breakers holds an empty string",
          "It would break every run",
          "Leave it out");
    }
  }
  for (const auto& [token, bias] : options.logit_bias) {
    check_bias(token, bias);
  }
}

}  // namespace roofline
