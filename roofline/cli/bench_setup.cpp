#include "roofline/cli/bench_setup.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/paths.h"
#include "roofline/cli/options.h"

namespace roofline::cli {

namespace {

using Json = nlohmann::ordered_json;

std::string joined(const std::vector<int>& values) {
  return fmt::format("{}", fmt::join(values, ","));
}

std::vector<std::string> worker_command(
    const BenchSetup& setup,
    const BenchOptions& options) {
  std::vector<std::string> words = {
      executable_path().string(),
      "bench",
      "--worker",
      "--quant",
      setup.quant,
      "--device",
      setup.device,
      "-p",
      joined(options.prompt_tokens),
      "-n",
      joined(options.decode_tokens),
      "-d",
      joined(options.depths),
      "-b",
      joined(options.batches),
      "--prefill-step",
      std::to_string(options.prefill_step)};
  const auto add = [&](const char* name, const auto& value) {
    if (value) {
      words.insert(words.end(), {name, fmt::format("{}", *value)});
    }
  };
  // An option with an empty value would be refused.
  const auto add_text = [&](const char* name, const std::string& value) {
    if (!value.empty()) {
      words.insert(words.end(), {name, value});
    }
  };
  add_text("--model", setup.model);
  add("--threads", setup.threads);
  add("--group-size", setup.group_size);
  add_text("--quant-8bit", setup.eight_bit.value_or(""));
  add("--kv-bits", setup.kv.choice.bits);
  add("--k-bits", setup.kv.choice.key_bits);
  add("--v-bits", setup.kv.choice.value_bits);
  add("--kv-group-size", setup.kv.choice.group_size);
  add("--kv-keep-full", setup.kv.choice.keep_full);
  add("--cache-limit-bytes", setup.cache_limit_bytes);
  add("--wired-limit-bytes", setup.wired_limit_bytes);
  add("--prompt-lookup", setup.prompt_lookup);
  add("--num-draft-tokens", setup.draft.tokens);
  add_text("--draft-model", setup.draft.model);
  add("--preset", setup.sampling.preset);
  add("--temp", setup.sampling.temperature);
  add("--top-p", setup.sampling.top_p);
  add("--min-p", setup.sampling.min_p);
  add("--top-k", setup.sampling.top_k);
  add("--repeat-penalty", setup.sampling.repetition);
  add_text("--prompt-file", setup.prompt_file);
  add_text("--isa", setup.isa);
  if (setup.exact) {
    words.emplace_back("--exact");
  }
  if (setup.no_cache) {
    words.emplace_back("--no-cache");
  }
  return words;
}

std::optional<double> number(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null()
             ? std::nullopt
             : std::optional(found->get<double>());
}

std::size_t index_of(const BenchCase& what, const BenchOptions& options) {
  const auto cases = bench_cases(options);
  const auto found =
      std::find_if(cases.begin(), cases.end(), [&](const BenchCase& other) {
        return other.name() == what.name();
      });
  return static_cast<std::size_t>(found - cases.begin());
}

}  // namespace

std::string BenchSetup::label() const {
  std::string text = quant == "none" ? "as stored" : quant;
  if (group_size && quant != "none") {
    text += fmt::format(" group {}", *group_size);
  }
  if (eight_bit) {
    text += fmt::format(" (8 bits: {})", *eight_bit);
  }
  if (kv.choice.any()) {
    text += ", KV " + kv.resolve().text();
  }
  if (threads) {
    text += fmt::format(", {} thread{}", *threads, *threads == 1 ? "" : "s");
  }
  if (!isa.empty()) {
    text += fmt::format(", {}", isa);
  }
  if (device != "auto") {
    text += fmt::format(", {}", device);
  }
  if (prompt_lookup.value_or(0) > 0) {
    text += fmt::format(", lookup {}", *prompt_lookup);
  }
  if (!draft.model.empty()) {
    text += fmt::format(
        ", draft {}",
        std::filesystem::path(draft.model).filename().string());
  }
  return text;
}

GenerateOptions BenchSetup::guessing() const {
  GenerateOptions options;
  options.prompt_lookup = prompt_lookup.value_or(0);
  draft.apply(options);
  validate(options);
  return options;
}

std::optional<SamplingOptions> BenchSetup::drawn() const {
  const bool any = sampling.preset || sampling.temperature || sampling.top_p ||
                   sampling.min_p || sampling.top_k || sampling.repetition;
  return any ? std::optional(sampling.resolve()) : std::nullopt;
}

std::optional<QuantizeChoice> BenchSetup::quantize() const {
  return QuantFlags{quant, group_size, eight_bit}.resolve();
}

void BenchSetup::take(const RunSettings& settings) {
  quant = settings.quant.value_or(quant);
  if (settings.group_size) {
    group_size = settings.group_size;
  }
  if (settings.kv().any()) {
    kv.choice = settings.kv();
  }
  if (settings.threads) {
    threads = settings.threads;
  }
  isa = settings.isa.value_or(isa);
  if (settings.quant_8bit) {
    eight_bit = settings.quant_8bit;
  }
  if (settings.prompt_lookup) {
    prompt_lookup = settings.prompt_lookup;
  }
  draft.fill(settings);
  // What the settings say counts more here.
  SamplingFlags drawn;
  drawn.fill(settings);
  const auto take_over = [](auto& value, const auto& from) {
    if (from) {
      value = from;
    }
  };
  take_over(sampling.temperature, drawn.temperature);
  take_over(sampling.top_p, drawn.top_p);
  take_over(sampling.min_p, drawn.min_p);
  take_over(sampling.top_k, drawn.top_k);
  take_over(sampling.repetition, drawn.repetition);
  if (settings.cache_limit_bytes) {
    cache_limit_bytes = settings.cache_limit_bytes;
  }
  if (settings.wired_limit_bytes) {
    wired_limit_bytes = settings.wired_limit_bytes;
  }
}

SetupProcess::SetupProcess(const BenchSetup& setup, const BenchOptions& options)
    : setup_(setup),
      options_(options),
      child_(std::make_unique<ChildProcess>(worker_command(setup, options))) {
  const Json ready = answer();
  facts_.device = ready.at("device").get<std::string>();
  if (const auto threads = number(ready, "cpu_threads")) {
    facts_.cpu_threads = static_cast<int>(*threads);
  }
  facts_.load_seconds = ready.at("load_seconds").get<double>();
  facts_.first_token_seconds = number(ready, "first_token_seconds");
  facts_.first_prompt_tokens = ready.at("first_prompt_tokens").get<int>();
  facts_.random_weights = ready.at("random_weights").get<bool>();
  facts_.rates = {
      ready.at("bytes_per_second").get<double>(),
      ready.at("operations_per_second").get<double>(),
      ready.at("step_weight_bytes").get<double>(),
      ready.at("batch_weight_bytes").get<double>()};
}

Json SetupProcess::answer() {
  if (const auto line = child_->read_line()) {
    return Json::parse(*line);
  }
  const int status = child_->wait();
  fail<UserError>(
      fmt::format("Measuring {} ended early", setup_.label()),
      fmt::format("Its process ended with status {}", status),
      "The line above says why, if the process could");
}

std::optional<BenchSample> SetupProcess::measure(const BenchCase& what) {
  child_->write_line(fmt::format("{}", index_of(what, options_)));
  const Json out = answer();
  facts_.peak_bytes = out.at("peak_bytes").get<double>();
  return BenchSample{
      out.at("seconds").get<double>(),
      out.at("host_seconds").get<double>(),
      number(out, "joules")};
}

void SetupProcess::finish() {
  child_->write_line("end");
  facts_.peak_bytes = answer().at("peak_bytes").get<double>();
  child_->wait();
}

}  // namespace roofline::cli
