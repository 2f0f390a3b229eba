// From one row of logits to one token: penalties and biases, then truncation
// (top-k, typical, top-p, min-p, XTC), then a draw at the temperature, which is
// the largest logit with noise added (base/gumbel_noise.h). Never sorts the
// vocabulary. The noise depends on seed, step and token alone, so that what
// truncation leaves out changes no draw that it allows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/kernels/block/deciding_logits.h"

namespace roofline {

struct DryOptions {
  float multiplier = 0.0f;  ///< 0: off
  float base = 1.75f;
  int allowed_length = 2;
  int window_tokens = -1;  ///< -1: the whole history
  std::vector<std::string> sequence_breakers = {"\n", ":", "\"", "*"};
};

struct SamplingOptions {
  float temperature = 0.7f;  ///< 0: exact argmax
  int top_k = 0;             ///< 0: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float xtc_probability = 0.0f;
  float xtc_threshold = 0.1f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int penalty_window = 64;  ///< tokens looked back; -1: all
  DryOptions dry;
  std::map<std::int32_t, float> logit_bias;
  std::optional<std::uint64_t> seed;  ///< absent: drawn from the system
  int top_logprobs = 0;               ///< how many alternatives to report
};

/// Throws UserError naming the option and its range.
void validate(const SamplingOptions& options);

/// Which logits decide a draw with this noise that `banned` tokens are kept
/// from. Others may be anything that, with its noise, is not above them.
DecidingLogits deciding_logits(
    const SamplingOptions& options,
    std::size_t banned,
    const GumbelNoise& noise);

struct TokenLogprob {
  std::int32_t token = 0;
  float logprob = 0.0f;
};

struct SampledToken {
  std::int32_t token = 0;
  /// Of the distribution the model gave, before truncation and temperature.
  /// Only filled in when top_logprobs > 0.
  float logprob = 0.0f;
  std::vector<TokenLogprob> top;
};

class Sampler {
 public:
  /// breaker_tokens: ids that end a DRY match (see dry_breakers.h). Throws as
  /// validate().
  Sampler(
      const SamplingOptions& options,
      std::vector<std::int32_t> breaker_tokens);
  ~Sampler();
  Sampler(Sampler&&) noexcept;

  /// logits [vocab], changed in place. history: prompt and output so far.
  /// banned: tokens that must not be drawn (ignore-eos, min tokens). Throws
  /// CheckpointError for NaN and +inf, UserError when nothing is left to draw.
  SampledToken sample(
      std::span<float> logits,
      std::span<const std::int32_t> history,
      std::span<const std::int32_t> banned = {});

  /// deciding_logits() of the next draw.
  DecidingLogits deciding_logits(std::size_t banned) const;

  std::uint64_t seed() const;
  /// Tokens drawn so far: what the next draw's numbers depend on, with the
  /// seed.
  std::uint64_t step() const;
  /// The next draw is made as if so many had been before it.
  void go_to(std::uint64_t step);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The guide's table (section 5): the middle of each range.
struct Preset {
  std::string name, title;
  SamplingOptions options;
};
const std::vector<Preset>& presets();
/// Throws UserError with the nearest name.
const Preset& find_preset(std::string_view name);

}  // namespace roofline
