#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/option_values.h"
#include "roofline/cli/option_helpers.h"
#include "roofline/cli/options.h"

namespace roofline::cli {

void SamplingFlags::declare(App& app) {
  const char* group = "Sampling";
  add(app,
      group,
      "--preset",
      "NAME",
      preset,
      "Start from a preset (see `roofline presets`); the options below "
      "override its values.");
  add(app,
      group,
      "--temp,--temperature",
      "T",
      temperature,
      "Randomness. 0 always takes the likeliest token. Default: 0.7.");
  add(app,
      group,
      "--top-k",
      "N",
      top_k,
      "Draw from the N likeliest tokens. 0: off.");
  add(app,
      group,
      "--top-p",
      "P",
      top_p,
      "Draw from the likeliest tokens that together have probability P.");
  add(app,
      group,
      "--min-p",
      "P",
      min_p,
      "Drop tokens less likely than P times the likeliest.");
  add(app,
      group,
      "--typical,--typical-p",
      "P",
      typical_p,
      "Draw from the tokens of typical surprise that together have "
      "probability P.");
  add(app,
      group,
      "--xtc-probability",
      "P",
      xtc_probability,
      "How often to drop the top choices but the least likely of them. 0: "
      "off.");
  add(app,
      group,
      "--xtc-threshold",
      "P",
      xtc_threshold,
      "What counts as a top choice. Default: 0.1.");
  declare_penalties(app);
  add_repeatable(
      app,
      group,
      "--logit-bias",
      "ID=V",
      logit_bias,
      "Add V to the logit of token ID. May be repeated.");
  add(app,
      group,
      "--seed",
      "N",
      seed,
      "Makes the draw repeatable: the same text whatever the threads.");
  add(app,
      group,
      "--logprobs",
      "N",
      logprobs,
      "Report the N likeliest tokens at each step, with log-probabilities.");
}

void SamplingFlags::declare_penalties(App& app) {
  const char* group = "Repetition";
  add(app,
      group,
      "--repetition-penalty,--repeat-penalty",
      "X",
      repetition,
      "Divide the logits of tokens that were used by X. 1: off.");
  add(app,
      group,
      "--presence-penalty",
      "X",
      presence,
      "Subtract X from the logits of tokens that were used.");
  add(app,
      group,
      "--frequency-penalty",
      "X",
      frequency,
      "Subtract X for every time a token was used.");
  add(app,
      group,
      "--penalty-window",
      "N",
      penalty_window,
      "Tokens that the penalties look back. -1: all. Default: 64.");
  add(app,
      group,
      "--dry-multiplier",
      "X",
      dry_multiplier,
      "Strength of the penalty on repeating a sequence (DRY). 0: off.");
  add(app,
      group,
      "--dry-base",
      "X",
      dry_base,
      "How fast that penalty grows with the length of the repetition.");
  add(app,
      group,
      "--dry-allowed-length",
      "N",
      dry_allowed_length,
      "Repetitions up to this many tokens are free.");
  add(app,
      group,
      "--dry-window",
      "N",
      dry_window,
      "Tokens that DRY looks back. -1: all.");
  add_repeatable(
      app,
      group,
      "--dry-breaker",
      "TEXT",
      dry_breakers,
      "A text that ends a repetition; replaces the default ones. May be "
      "repeated; \\n and \\t are understood.");
}

void SamplingFlags::fill(const RunSettings& settings) {
  const auto take = [](auto& value, const auto& from) {
    if (!value && from) {
      value = *from;
    }
  };
  take(temperature, settings.temperature);
  take(top_p, settings.top_p);
  take(min_p, settings.min_p);
  take(top_k, settings.top_k);
  take(repetition, settings.repetition_penalty);
}

SamplingOptions SamplingFlags::resolve() const {
  SamplingOptions options;
  if (preset) {
    options = find_preset(*preset).options;
  }
  override_with(options.temperature, temperature);
  override_with(options.top_k, top_k);
  override_with(options.top_p, top_p);
  override_with(options.min_p, min_p);
  override_with(options.typical_p, typical_p);
  override_with(options.xtc_probability, xtc_probability);
  override_with(options.xtc_threshold, xtc_threshold);
  override_with(options.repetition_penalty, repetition);
  override_with(options.presence_penalty, presence);
  override_with(options.frequency_penalty, frequency);
  override_with(options.penalty_window, penalty_window);
  override_with(options.dry.multiplier, dry_multiplier);
  override_with(options.dry.base, dry_base);
  override_with(options.dry.allowed_length, dry_allowed_length);
  override_with(options.dry.window_tokens, dry_window);
  if (!dry_breakers.empty()) {
    options.dry.sequence_breakers = unescape_all(dry_breakers);
  }
  for (const std::string& text : logit_bias) {
    options.logit_bias.insert_or_assign(
        parse_logit_bias(text).first,
        parse_logit_bias(text).second);
  }
  if (seed) {
    options.seed = *seed;
  }
  override_with(options.top_logprobs, logprobs);
  validate(options);
  return options;
}

/// A number, or an infinity: the token never comes, or always.
static std::optional<float> parse_bias(std::string_view text) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (text == "-inf" || text == "inf") {
    return text == "inf" ? kInfinity : -kInfinity;
  }
  return parse_number<float>(text);
}

std::pair<std::int32_t, float> parse_logit_bias(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals != std::string::npos && equals > 0 && equals + 1 < text.size()) {
    const auto id = parse_number<std::int32_t>(text.substr(0, equals));
    const auto value = parse_bias(text.substr(equals + 1));
    if (id && *id >= 0 && value) {
      return {*id, *value};
    }
  }
  fail<UserError>(
      fmt::format("--logit-bias can't be \"{}\"", text),
      "",
      "It takes a token's id and a number, as in 42=-1.5");
}

}  // namespace roofline::cli
