#include "roofline/cli/options.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/thread_pool.h"
#include "roofline/decode/prompt_lookup.h"
#include "roofline/spec/tensor_parts.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

constexpr int kMostThreads = 1024;

/// One option whose value has a type name in the help.
template <class T>
CLI::Option* add(
    CLI::App& app,
    const char* group,
    const char* names,
    const char* type,
    T& value,
    const char* description) {
  return app.add_option(names, value, description)
      ->group(group)
      ->type_name(type);
}

/// An option that may be given several times, one value each time.
template <class T>
void add_repeatable(
    CLI::App& app,
    const char* group,
    const char* names,
    const char* type,
    std::vector<T>& values,
    const char* description) {
  add(app, group, names, type, values, description)->allow_extra_args(false);
}

/// Index of `value` in `names`. Throws UserError with the list.
std::size_t choose(
    const char* option,
    const std::string& value,
    const std::vector<std::string>& names) {
  std::string list;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == value) {
      return i;
    }
    list += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  }
  fail<UserError>(
      fmt::format("{} can't be \"{}\"", option, value),
      did_you_mean(value, names),
      "It takes " + list);
}

void require_at_least(const char* option, int value, int least) {
  if (value < least) {
    fail<UserError>(
        fmt::format("{} can't be {}", option, value),
        "",
        fmt::format("It takes a number of at least {}", least));
  }
}

template <class T, class U>
void override_with(T& target, const std::optional<U>& value) {
  if (value) {
    target = *value;
  }
}

std::vector<std::string> unescape_all(const std::vector<std::string>& texts) {
  std::vector<std::string> out;
  for (const std::string& text : texts) {
    out.push_back(unescape(text));
  }
  return out;
}

}  // namespace

void DeviceFlags::declare(CLI::App& app) {
  const char* group = "Device";
  add(app,
      group,
      "--device",
      "auto|cpu|gpu",
      device,
      "Where to compute. auto: the GPU when MLX has one. Default: auto.");
  add(app,
      group,
      "--threads",
      "N",
      threads,
      "Threads of the CPU kernels. Default: the cores that may be used.");
  app.add_flag(
         "--exact",
         exact,
         "float32 activations and cache, and no fast approximations.")
      ->group(group);
  app.add_flag(
         "--no-cache",
         no_cache,
         "Don't keep repacked or quantized weights on disk, and don't look "
         "for kept ones.")
      ->group(group);
}

ModelOptions DeviceFlags::resolve() const {
  ModelOptions options;
  options.device = static_cast<DeviceChoice>(
      choose("--device", device, {"auto", "cpu", "gpu"}));
  options.exact = exact;
  options.cache_packed = !no_cache;
  if (threads) {
    if (*threads < 1 || *threads > kMostThreads) {
      fail<UserError>(
          fmt::format("--threads can't be {}", *threads),
          "",
          fmt::format("It takes a number from 1 to {}", kMostThreads));
    }
    ThreadPool::set_global_threads(*threads);
  }
  return options;
}

void QuantFlags::declare(CLI::App& app) {
  add(app,
      "Weights",
      "--quant",
      "int4|int8|none",
      quant,
      "Quantize a floating-point checkpoint while it is loaded; the result is "
      "kept for the next start. Default: none.");
  add(app,
      "Weights",
      "--group-size",
      "32|64|128",
      group_size,
      "Weights that share a scale and a bias. Only with --quant. Default: 64.");
  add(app,
      "Weights",
      "--quant-8bit",
      "PART,…",
      eight_bit,
      "Parts that --quant int4 holds at 8 bits: embed, q, k, v, o, gate, up, "
      "down, ends (the first and last eighth of the layers). Default: none.");
}

static void refuse_eight_bit(const std::optional<std::string>& parts) {
  if (parts && !parts->empty()) {
    fail<UserError>(
        "--quant-8bit needs --quant int4",
        "It names the parts that have 8 bits where the rest has 4",
        "Add --quant int4, or leave --quant-8bit out");
  }
}

std::optional<QuantizeChoice> QuantFlags::resolve() const {
  const std::size_t kind =
      choose("--quant", quant.value_or("none"), {"none", "int4", "int8"});
  if (kind == 0) {
    if (group_size) {
      fail<UserError>(
          "--group-size needs --quant",
          "Without it the weights stay as they are stored",
          "Add --quant int4 or --quant int8, or leave --group-size out");
    }
    refuse_eight_bit(eight_bit);
    return std::nullopt;
  }
  QuantizeChoice choice;
  choice.bits = kind == 1 ? 4 : 8;
  override_with(choice.group_size, group_size);
  choose(
      "--group-size",
      std::to_string(choice.group_size),
      {"32", "64", "128"});
  if (choice.bits != 4) {
    refuse_eight_bit(eight_bit);
  }
  choice.eight_bit = parse_matrix_parts(eight_bit.value_or(""), "--quant-8bit");
  return choice;
}

WeightFormat weight_format(const QuantizeChoice& choice) {
  return {choice.bits, choice.group_size, choice.eight_bit};
}

RandomFormat random_format(const QuantizeChoice& choice) {
  return {choice.bits, choice.group_size, choice.eight_bit};
}

void SamplingFlags::declare(CLI::App& app) {
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

void SamplingFlags::declare_penalties(CLI::App& app) {
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

void LengthFlags::declare(CLI::App& app) {
  const char* group = "Length";
  add(app,
      group,
      "-n,--max-tokens",
      "N",
      max_tokens,
      "End the answer after N tokens. Default: 512, or what the context has "
      "left.");
  add(app,
      group,
      "--min-tokens",
      "N",
      min_tokens,
      "Don't end the answer before N tokens.");
  app.add_flag("--ignore-eos", ignore_eos, "Go on where the model would end.")
      ->group(group);
  add_repeatable(
      app,
      group,
      "--stop",
      "TEXT",
      stop,
      "End the answer before TEXT. May be repeated; \\n and \\t are "
      "understood.");
  add_repeatable(
      app,
      group,
      "--stop-token",
      "ID",
      stop_tokens,
      "End the answer at this token. May be repeated.");
  add(app,
      group,
      "--max-kv",
      "N",
      max_kv,
      "Keep at most N positions: the first few and the latest. The memory "
      "stays constant however long the text gets.");
  add(app,
      group,
      "--context-overflow",
      "error|roll",
      overflow,
      "When a text is longer than the context: refuse, or forget the middle. "
      "Default: error.");
  add(app,
      group,
      "--prompt-lookup",
      "N",
      prompt_lookup,
      "Look up at most N of the next tokens (to 32) in the text so far and "
      "check them in one step: faster where an answer repeats its prompt. "
      "Default: 0, off.");
}

void LengthFlags::apply(GenerateOptions& options) const {
  if (max_tokens) {
    require_at_least("--max-tokens", *max_tokens, 1);
    options.max_tokens = *max_tokens;
  }
  require_at_least("--min-tokens", min_tokens, 0);
  if (max_tokens && min_tokens > *max_tokens) {
    fail<UserError>(
        fmt::format(
            "--min-tokens {} is more than --max-tokens {}",
            min_tokens,
            *max_tokens),
        "",
        "Lower the one or raise the other");
  }
  options.min_tokens = min_tokens;
  options.ignore_eos = ignore_eos;
  for (const std::string& text : stop) {
    if (text.empty()) {
      fail<UserError>("--stop can't be empty", "", "Give it a text");
    }
  }
  options.stop = unescape_all(stop);
  options.stop_tokens.assign(stop_tokens.begin(), stop_tokens.end());
  if (max_kv) {
    require_at_least("--max-kv", *max_kv, 16);
    options.max_kv_tokens = *max_kv;
  }
  options.overflow = static_cast<ContextOverflow>(
      choose("--context-overflow", overflow, {"error", "roll"}));
  const int lookup = prompt_lookup.value_or(0);
  if (lookup < 0 || lookup > kMostPromptLookup) {
    fail<UserError>(
        fmt::format("--prompt-lookup can't be {}", lookup),
        "",
        fmt::format("It takes a number from 0 to {}", kMostPromptLookup));
  }
  options.prompt_lookup = lookup;
}

void SettingsFlags::declare(CLI::App& app) {
  const char* group = "Settings";
  add(app,
      group,
      "--settings",
      "FILE",
      file,
      "Take settings from a file that `roofline optimize --out` wrote. Options "
      "given here count more.");
  app.add_flag(
         "--no-settings",
         none,
         "Leave out the settings that `roofline optimize --apply` made this "
         "model's default.")
      ->group(group);
}

RunSettings SettingsFlags::read(const std::string& model) {
  if (!file.empty()) {
    source = file;
    return read_settings(file);
  }
  if (none) {
    return {};
  }
  std::filesystem::path path;
  try {
    path = default_settings_path(resolve_model(model));
  } catch (const UserError&) {
    return {};  // loading tells it, after what is wrong with other options
  }
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return {};
  }
  source = path.string();
  return read_settings(path);
}

void AnswerFlags::declare(CLI::App& app) {
  sampling.declare(app);
  length.declare(app);
  quant.declare(app);
  device.declare(app);
  settings.declare(app);
}

std::string AnswerFlags::take_settings(const std::string& model) {
  const RunSettings given = settings.read(model);
  const auto fill = [](auto& value, const auto& from) {
    if (!value && from) {
      value = *from;
    }
  };
  if (!quant.quant && !quant.group_size) {
    quant.quant = given.quant;
    quant.group_size = given.group_size;
    fill(quant.eight_bit, given.quant_8bit);
  }
  fill(device.threads, given.threads);
  fill(prefill_step, given.prefill_step);
  fill(length.max_tokens, given.max_tokens);
  fill(length.max_kv, given.max_kv);
  fill(length.prompt_lookup, given.prompt_lookup);
  // A preset is a choice of its own.
  if (!sampling.preset) {
    fill(sampling.temperature, given.temperature);
    fill(sampling.top_p, given.top_p);
    fill(sampling.min_p, given.min_p);
    fill(sampling.top_k, given.top_k);
    fill(sampling.repetition, given.repetition_penalty);
  }
  if (given.isa) {
    setenv("ROOFLINE_ISA", given.isa->c_str(), 0);
  }
  apply_memory_limits(given);
  if (settings.source.empty()) {
    return "";
  }
  return fmt::format(
      "roofline: settings: {} ({}; --no-settings leaves them out)\n",
      given.text(),
      settings.source);
}

ModelOptions AnswerFlags::model_options() const {
  ModelOptions options = device.resolve();
  options.quantize = quant.resolve();
  return options;
}

GenerateOptions AnswerFlags::generate_options() const {
  GenerateOptions options;
  options.sampling = sampling.resolve();
  length.apply(options);
  override_with(options.prefill_chunk, prefill_step);
  return options;
}

std::pair<std::int32_t, float> parse_logit_bias(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals != std::string::npos && equals > 0 && equals + 1 < text.size()) {
    const std::string id_text = text.substr(0, equals);
    const std::string value_text = text.substr(equals + 1);
    char* id_end = nullptr;
    char* value_end = nullptr;
    const long long id = std::strtoll(id_text.c_str(), &id_end, 10);
    const float value = std::strtof(value_text.c_str(), &value_end);
    if (*id_end == '\0' && *value_end == '\0' && id >= 0 &&
        id <= std::numeric_limits<std::int32_t>::max() && !std::isnan(value)) {
      return {static_cast<std::int32_t>(id), value};
    }
  }
  fail<UserError>(
      fmt::format("--logit-bias can't be \"{}\"", text),
      "",
      "It takes a token's id and a number, as in 42=-1.5");
}

std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    const std::size_t known = std::string_view("ntr\"\\").find(next);
    if (text[i] != '\\' || next == '\0' || known == std::string_view::npos) {
      out += text[i];
      continue;
    }
    out += "\n\t\r\"\\"[known];
    ++i;
  }
  return out;
}

}  // namespace roofline::cli
