#include "roofline/cli/optimize_measurer.h"

#include <algorithm>
#include <span>
#include <utility>

#include "roofline/base/clock.h"
#include "roofline/cli/options.h"
#include "roofline/decode/chat.h"
#include "roofline/evaluate/texts.h"

namespace roofline::cli {

namespace {

// A process keeps its weights: only so many stay beside each other.
constexpr std::size_t kMostProcesses = 6;
constexpr int kFirstTokens = 8;
// Two windows; twice as many would move the mean by a few percent.
constexpr std::size_t kQualityTokens = 1025;
constexpr std::size_t kGlanceTokens = 129;

// The prompt, then every length of answer that a search asks for, after it.
BenchOptions cases_of(const RunSettings& settings, const Workload& work) {
  BenchOptions options;
  options.prompt_tokens = {work.prompt_tokens};
  options.decode_tokens.clear();
  for (int tokens = kFirstTokens; tokens < work.decode_tokens; tokens *= 2) {
    options.decode_tokens.push_back(tokens);
  }
  options.decode_tokens.push_back(work.decode_tokens);
  options.depths = {0, work.prompt_tokens};
  options.batches = {settings.batch.value_or(1)};
  options.prefill_step = settings.prefill_step.value_or(options.prefill_step);
  return options;
}

}  // namespace

SetupMeasurer::SetupMeasurer(
    std::string model,
    std::string device,
    double quality_seconds,
    std::string prompt_file,
    SamplingFlags sampling)
    : model_(std::move(model)),
      device_(std::move(device)),
      prompt_file_(std::move(prompt_file)),
      sampling_(std::move(sampling)),
      quality_seconds_(quality_seconds),
      start_(Clock::now()),
      checkpoint_(Checkpoint::open(resolve_model(model_))) {}

SetupProcess& SetupMeasurer::process_of(
    const RunSettings& settings,
    const Workload& work) {
  auto& process = processes_[settings.text()];
  if (!process) {
    BenchSetup setup;
    setup.model = model_;
    setup.device = device_;
    setup.prompt_file = prompt_file_;
    setup.sampling = sampling_;
    setup.take(settings);
    process = std::make_unique<SetupProcess>(setup, cases_of(settings, work));
    if (processes_.size() > kMostProcesses) {
      // The defaults stay: all are compared with them.
      const auto other = std::find_if(
          processes_.begin(),
          processes_.end(),
          [&](const auto& entry) {
            return entry.second != process &&
                   entry.first != RunSettings().text();
          });
      processes_.erase(other);
    }
  }
  return *process;
}

OptimizeSample SetupMeasurer::measure(
    const RunSettings& settings,
    const Workload& work,
    int decode_tokens) {
  SetupProcess& process = process_of(settings, work);
  const int batch = settings.batch.value_or(1);
  const auto prompt =
      process.measure({BenchPhase::prefill, work.prompt_tokens, 0, batch});
  const auto answer = process.measure(
      {BenchPhase::decode, decode_tokens, work.prompt_tokens, batch});
  OptimizeSample sample;
  sample.prefill_seconds = prompt->seconds;
  sample.decode_seconds = answer->seconds;
  sample.decode_tokens = decode_tokens;
  sample.batch = batch;
  sample.peak_bytes = static_cast<std::uint64_t>(process.facts().peak_bytes);
  return sample;
}

// keep: the packed weights, for the runs that follow.
std::unique_ptr<Decoder> SetupMeasurer::load(
    const RunSettings& settings,
    bool keep) {
  DeviceFlags device;
  device.device = device_;
  ModelOptions options = device.resolve();
  BenchSetup setup;
  setup.take(settings);
  options.quantize = setup.quantize();
  options.kv = setup.kv.resolve();
  options.cache_packed = keep;
  return Decoder::load(*checkpoint_, options);
}

QualityReport SetupMeasurer::judge(
    const RunSettings& settings,
    std::size_t most_tokens,
    bool keep) {
  if (!reference_) {
    reference_ = load({}, true);
    tokens_ = encode_prompt(*checkpoint_->load_tokenizer(), evaluation_text());
  }
  const std::span<const std::int32_t> tokens(
      tokens_.data(),
      std::min(tokens_.size(), most_tokens));
  QualityOptions options;
  const auto start = Clock::now();
  options.stop = [&] { return seconds_since(start) > quality_seconds_; };
  if (settings == RunSettings()) {
    return measure_quality(*reference_, *reference_, tokens, options);
  }
  const auto candidate = load(settings, keep);
  return measure_quality(*reference_, *candidate, tokens, options);
}

std::optional<QualityReport> SetupMeasurer::quality(
    const RunSettings& settings) {
  const auto report = judge(settings, kQualityTokens, true);
  return report.tokens > 0 ? std::optional(report) : std::nullopt;
}

std::optional<QualityReport> SetupMeasurer::glance(
    const RunSettings& settings) {
  const auto report = judge(settings, kGlanceTokens, false);
  // Cut short, it can't be compared with the others.
  return report.tokens + 1 == kGlanceTokens ? std::optional(report)
                                            : std::nullopt;
}

void SetupMeasurer::forget(const RunSettings& settings) {
  processes_.erase(settings.text());
}

double SetupMeasurer::seconds() {
  return seconds_since(start_);
}

}  // namespace roofline::cli
