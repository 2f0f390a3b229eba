#include "roofline/decode/sampling.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/decode/dry.h"
#include "roofline/decode/penalties.h"
#include "roofline/decode/random.h"
#include "roofline/decode/truncation.h"
#include "roofline/decode/vector_math.h"

namespace roofline {

namespace {

/// To find more of the largest logits takes as long as to make all.
constexpr std::int64_t kMostDeciding = 128;

void check_logits(std::span<const float> logits) {
  if (logits.empty()) {
    fail<BugError>("sampling: no logits", "", "Report this");
  }
  const std::size_t bad = first_invalid(logits);
  if (bad < logits.size()) {
    fail<CheckpointError>(
        fmt::format("The model gave {} for token {}", logits[bad], bad),
        "A logit must be a number: weights are damaged, or float16 overflowed",
        "Check the file, and try again with --exact");
  }
}

// Draws from softmax(logit / temperature); of equal keys the first that is
// taken wins. Keys are in double, where they differ by as much whatever logit
// they are measured from: it may be an estimate.
class NoisyDraw {
 public:
  /// max: the largest of the logits.
  NoisyDraw(float max, float temperature, const GumbelNoise& noise)
      : max_(max), scale_(sharpness(temperature)), noise_(noise) {}

  void take(std::int32_t token, float logit) {
    const double key =
        sharp(logit) + noise_.of(static_cast<std::uint32_t>(token));
    if (key > key_) {
      key_ = key;
      token_ = token;
    }
  }

  /// Takes what can win of a block of the row.
  void take_block(std::span<const float> row, std::size_t block) {
    const auto begin = block * GumbelNoise::kBlock;
    const auto logits = row.subspan(
        begin,
        std::min<std::size_t>(GumbelNoise::kBlock, row.size() - begin));
    const float most = noise_.most_of(static_cast<std::uint32_t>(block));
    if (sharp(max_of(logits)) + most < key_) {
      return;
    }
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (sharp(logits[i]) + most >= key_) {
        take(static_cast<std::int32_t>(begin + i), logits[i]);
      }
    }
  }

  std::int32_t token() const { return token_; }

 private:
  double sharp(float logit) const { return (logit - max_) * scale_; }

  double max_;
  double scale_;
  GumbelNoise noise_;
  double key_ = -kInfinity;
  std::int32_t token_ = 0;
};

std::int32_t draw_from_row(
    std::span<const float> logits,
    std::size_t likeliest,
    float temperature,
    const GumbelNoise& noise) {
  NoisyDraw draw(logits[likeliest], temperature, noise);
  // First what most others can't exceed.
  draw.take(static_cast<std::int32_t>(likeliest), logits[likeliest]);
  for (std::size_t block = 0; block * GumbelNoise::kBlock < logits.size();
       ++block) {
    draw.take_block(logits, block);
  }
  return draw.token();
}

std::int32_t draw_from_list(
    const Candidates& candidates,
    float temperature,
    const GumbelNoise& noise) {
  NoisyDraw draw(max_logit(candidates), temperature, noise);
  for (const Candidate& c : candidates) {
    draw.take(c.token, c.logit);
  }
  return draw.token();
}

void add_logprobs(std::span<const float> raw, int count, SampledToken& sample) {
  const float max = max_of(raw);
  const double log_total = std::log(exp_sum(raw, max));
  const auto logprob = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - max - log_total);
  };
  Candidates best;
  select_top_k(raw, count, best);
  std::stable_sort(best.begin(), best.end(), [](const auto& a, const auto& b) {
    return a.logit > b.logit;
  });
  sample.logprob = logprob(raw[sample.token]);
  for (const Candidate& c : best) {
    sample.top.push_back({c.token, logprob(c.logit)});
  }
}

}  // namespace

struct Sampler::State {
  SamplingOptions options;
  std::vector<std::int32_t> breakers;  // sorted
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  // Kept between steps so that a step allocates nothing.
  TokenCounts counts;
  Candidates candidates;
  std::vector<float> raw;

  void change_logits(
      std::span<float> logits,
      std::span<const std::int32_t> history,
      std::span<const std::int32_t> banned);
  std::int32_t pick(std::span<const float> logits);
};

void Sampler::State::change_logits(
    std::span<float> logits,
    std::span<const std::int32_t> history,
    std::span<const std::int32_t> banned) {
  for (const std::int32_t token : banned) {
    // A config may list end tokens beyond the vocabulary; they can't be drawn.
    if (token >= 0 && static_cast<std::size_t>(token) < logits.size()) {
      logits[token] = -kInfinity;
    }
  }
  const bool repetition = options.repetition_penalty != 1.0f;
  const bool counted =
      options.presence_penalty != 0.0f || options.frequency_penalty != 0.0f;
  if (repetition || counted) {
    counts.count(last_tokens(history, options.penalty_window), logits.size());
  }
  if (repetition) {
    apply_repetition_penalty(logits, counts, options.repetition_penalty);
  }
  if (counted) {
    apply_count_penalties(
        logits,
        counts,
        options.presence_penalty,
        options.frequency_penalty);
  }
  if (options.dry.multiplier > 0.0f) {
    apply_dry(logits, history, breakers, options.dry);
  }
  apply_logit_bias(logits, options.logit_bias);
}

std::int32_t Sampler::State::pick(std::span<const float> logits) {
  const std::size_t best = argmax_of(logits);
  if (logits[best] == -kInfinity) {
    fail<UserError>(
        "No token is left to draw",
        "Every token is banned by logit_bias or gave a logit of -inf",
        "Ban fewer tokens");
  }
  if (options.temperature == 0.0f) {
    return static_cast<std::int32_t>(best);
  }
  const double xtc = xtc_draw(seed, step);
  const GumbelNoise noise = token_noise(seed, step);
  if (!truncates(logits.size(), options, xtc)) {
    return draw_from_row(logits, best, options.temperature, noise);
  }
  truncate(logits, options, xtc, candidates);
  return draw_from_list(candidates, options.temperature, noise);
}

DecidingLogits deciding_logits(
    const SamplingOptions& options,
    std::size_t banned,
    const GumbelNoise& noise) {
  const bool greedy = options.temperature == 0.0f;
  const bool top_k = !greedy && options.top_k > 0;
  const bool min_p = !greedy && !top_k && options.min_p > 0.0f;
  // What needs the probabilities of all, unless few are left before it.
  const bool whole = options.typical_p < 1.0f || options.top_p < 1.0f ||
                     (options.xtc_probability > 0.0f && !min_p);
  // What lowers more tokens than are counted here, or raises some.
  const bool moves =
      options.repetition_penalty < 1.0f || options.presence_penalty < 0.0f ||
      options.frequency_penalty < 0.0f || options.dry.multiplier > 0.0f ||
      !options.logit_bias.empty();
  if ((whole && !greedy && !top_k) || moves || options.top_logprobs > 0) {
    return {};
  }
  const bool lowers = options.repetition_penalty != 1.0f ||
                      options.presence_penalty != 0.0f ||
                      options.frequency_penalty != 0.0f;
  if (lowers && options.penalty_window < 0) {
    return {};
  }
  const std::int64_t drawn = top_k ? options.top_k : 1;
  const std::int64_t lowered = lowers ? options.penalty_window : 0;
  const std::int64_t all = drawn + lowered + static_cast<std::int64_t>(banned);
  if (all > kMostDeciding) {
    return {};
  }
  DecidingLogits deciding;
  deciding.largest = static_cast<int>(all);
  if (min_p) {
    deciding.depth = -least_depth(options);
  } else if (!greedy && !top_k) {
    deciding.temperature = options.temperature;
    deciding.noise = noise;
  }
  return deciding;
}

Sampler::Sampler(
    const SamplingOptions& options,
    std::vector<std::int32_t> breaker_tokens)
    : state_(std::make_unique<State>()) {
  validate(options);
  state_->options = options;
  std::sort(breaker_tokens.begin(), breaker_tokens.end());
  state_->breakers = std::move(breaker_tokens);
  state_->seed = options.seed ? *options.seed : system_seed();
}

Sampler::~Sampler() = default;
Sampler::Sampler(Sampler&&) noexcept = default;

DecidingLogits Sampler::deciding_logits(std::size_t banned) const {
  return roofline::deciding_logits(
      state_->options,
      banned,
      token_noise(state_->seed, state_->step));
}

SampledToken Sampler::sample(
    std::span<float> logits,
    std::span<const std::int32_t> history,
    std::span<const std::int32_t> banned) {
  check_logits(logits);
  const int wanted = state_->options.top_logprobs;
  if (wanted > 0) {
    state_->raw.assign(logits.begin(), logits.end());
  }
  state_->change_logits(logits, history, banned);
  SampledToken sample;
  sample.token = state_->pick(logits);
  ++state_->step;
  if (wanted > 0) {
    add_logprobs(state_->raw, wanted, sample);
  }
  return sample;
}

std::uint64_t Sampler::seed() const {
  return state_->seed;
}

std::uint64_t Sampler::step() const {
  return state_->step;
}

void Sampler::go_to(std::uint64_t step) {
  state_->step = step;
}

}  // namespace roofline
