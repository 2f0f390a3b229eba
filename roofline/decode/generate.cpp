#include "roofline/decode/generate.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <mlx/device.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/decode/answer.h"
#include "roofline/decode/context_plan.h"
#include "roofline/decode/dry_breakers.h"
#include "roofline/decode/penalties.h"
#include "roofline/decode/stop_rules.h"
#include "roofline/model/session.h"

namespace roofline {

namespace {

using Clock = std::chrono::steady_clock;

// Freed buffers that MLX may keep on a CPU: more than a step's activations, and
// small beside a model.
constexpr std::size_t kCpuBufferCacheBytes = std::size_t{32} << 20;
// Steps after which a GPU's freed buffers are given back: often enough that a
// growing cache doesn't leave its old copies behind, rare enough to cost
// nothing.
constexpr int kClearCacheSteps = 256;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool on_gpu() {
  return mx::default_device() == mx::Device::gpu;
}

bool same(const KvOptions& a, const KvOptions& b) {
  return a.max_tokens == b.max_tokens && a.keep_tokens == b.keep_tokens &&
         a.max_chunk == b.max_chunk;
}

void check_prompt(std::span<const std::int32_t> prompt, int vocab) {
  if (prompt.empty()) {
    fail<UserError>(
        "The prompt is empty",
        "A model continues at least one token",
        "Write a prompt");
  }
  for (const std::int32_t token : prompt) {
    if (token < 0 || token >= vocab) {
      fail<UserError>(
          fmt::format("The prompt holds token {}", token),
          fmt::format("The model has tokens 0 to {}", vocab - 1),
          "Check that the tokenizer belongs to this model");
    }
  }
}

void check_biases(const SamplingOptions& options, int vocab) {
  if (options.logit_bias.empty()) {
    return;
  }
  const std::int32_t last = options.logit_bias.rbegin()->first;
  if (last >= vocab) {
    fail<UserError>(
        fmt::format("logit_bias names token {}", last),
        fmt::format("The model has tokens 0 to {}", vocab - 1),
        "Use ids that `roofline tokenize MODEL --ids` prints");
  }
}

// Evaluates one row of logits [1, vocab] and copies it out.
void read_row(mx::array logits, std::vector<float>& out) {
  logits.eval();
  if (!logits.flags().row_contiguous) {
    logits = mx::contiguous(logits);
    logits.eval();
  }
  const float* data = logits.data<float>();
  out.assign(data, data + logits.size());
}

}  // namespace

double GenerateStats::prefill_tokens_per_second() const {
  const int run = prompt_tokens - cached_tokens - dropped_tokens;
  return prefill_seconds > 0 ? run / prefill_seconds : 0;
}

double GenerateStats::decode_tokens_per_second() const {
  return decode_seconds > 0 ? (generated_tokens - 1) / decode_seconds : 0;
}

struct Generator::State {
  Decoder& decoder;
  const Tokenizer& tokenizer;
  std::unique_ptr<Session> session;
  KvOptions cache;
  std::vector<std::string> breaker_strings;
  std::vector<std::int32_t> breaker_tokens;

  // A session whose cache is as asked; one that fits keeps its tokens.
  Session& session_for(const KvOptions& options) {
    if (!session || !same(cache, options)) {
      session.reset();
      session = std::make_unique<Session>(decoder, options);
      cache = options;
    }
    return *session;
  }

  const std::vector<std::int32_t>& breakers_for(const DryOptions& dry) {
    const bool on = dry.multiplier > 0;
    if (on && breaker_strings != dry.sequence_breakers) {
      breaker_tokens = dry_breaker_tokens(
          tokenizer,
          decoder.spec().vocab,
          dry.sequence_breakers);
      breaker_strings = dry.sequence_breakers;
    }
    return breaker_tokens;
  }
};

namespace {

/// One call of Generator::run.
class Run {
 public:
  Run(Session& session,
      Sampler sampler,
      StopTokens stops,
      Answer& answer,
      const std::atomic<bool>* cancel)
      : session_(session),
        sampler_(std::move(sampler)),
        stops_(std::move(stops)),
        answer_(answer),
        cancel_(cancel) {
    result_.seed = sampler_.seed();
  }

  void prefill(std::span<const std::int32_t> prompt);
  GenerateResult decode(const GenerateOptions& options, int max_tokens);

 private:
  bool cancelled() const {
    return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
  }
  int generated() const { return static_cast<int>(result_.tokens.size()); }
  Sample draw();
  void note_token();
  FinishReason loop(const GenerateOptions& options, int max_tokens);

  Session& session_;
  Sampler sampler_;
  StopTokens stops_;
  Answer& answer_;
  const std::atomic<bool>* cancel_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point first_token_;
  /// Of the next token; absent when the prompt was cancelled.
  std::optional<mx::array> logits_;
  /// Whether forward() hands out work that still has to run: then text is made
  /// while it does.
  bool lazy_ = false;
  std::vector<float> row_;
  GenerateResult result_;
};

void Run::prefill(std::span<const std::int32_t> prompt) {
  const auto cached = session_.keep_prefix_of(prompt);
  result_.stats.prompt_tokens = static_cast<int>(prompt.size());
  result_.stats.cached_tokens = static_cast<int>(cached);
  logits_ = session_.extend(
      prompt.subspan(static_cast<std::size_t>(cached)),
      LogitRows::last,
      [&] { return cancelled(); });
  if (logits_) {
    lazy_ = !logits_->is_available();
    mx::eval(*logits_);
  }
  if (on_gpu()) {
    mx::clear_cache();
  }
  // Of a prompt that was cut short there is no speed to tell.
  result_.stats.prefill_seconds = logits_ ? seconds_since(start_) : 0;
}

Sample Run::draw() {
  read_row(*logits_, row_);
  // What a rotating cache has let go is no longer held against the answer.
  const auto limit = session_.cache().options().max_tokens.value_or(-1);
  return sampler_.sample(
      row_,
      last_tokens(session_.tokens(), limit),
      stops_.banned(generated()));
}

void Run::note_token() {
  GenerateStats& stats = result_.stats;
  stats.generated_tokens = generated();
  if (generated() == 1) {
    first_token_ = Clock::now();
  } else {
    stats.decode_seconds = seconds_since(first_token_);
  }
}

FinishReason Run::loop(const GenerateOptions& options, int max_tokens) {
  while (generated() < max_tokens) {
    if (!logits_ || cancelled()) {
      return FinishReason::cancelled;
    }
    Sample sample = draw();
    const std::int32_t token = sample.token;
    if (result_.stats.first_token_seconds == 0) {
      result_.stats.first_token_seconds = seconds_since(start_);
    }
    if (stops_.stops(token)) {
      return FinishReason::stop_token;
    }
    result_.tokens.push_back(token);
    note_token();
    if (options.sampling.top_logprobs > 0) {
      result_.logprobs.push_back(std::move(sample));
    }
    const bool more = generated() < max_tokens;
    if (more && lazy_) {
      logits_ = session_.extend({&token, 1});
      mx::async_eval(*logits_);
    }
    if (!answer_.push(token, generated() >= options.min_tokens)) {
      return FinishReason::stop_string;
    }
    if (more && !lazy_) {
      logits_ = session_.extend({&token, 1});
    }
    if (generated() % kClearCacheSteps == 0 && on_gpu()) {
      mx::clear_cache();
    }
  }
  return logits_ ? FinishReason::length : FinishReason::cancelled;
}

GenerateResult Run::decode(const GenerateOptions& options, int max_tokens) {
  result_.finish = loop(options, max_tokens);
  const bool stopped = result_.finish == FinishReason::stop_string;
  if (!stopped && !answer_.finish(generated() >= options.min_tokens)) {
    result_.finish = FinishReason::stop_string;
  }
  result_.text = answer_.text();
  return std::move(result_);
}

// What of the prompt is run. A prompt that only adds to what rolled so far goes
// on rolling; another one that is too long keeps its first and latest tokens.
bool must_cut(
    const Session& session,
    std::span<const std::int32_t> prompt,
    const ContextPlan& plan) {
  const auto size = static_cast<std::int64_t>(prompt.size());
  if (size <= plan.longest_prompt) {
    return false;
  }
  const auto& held = session.tokens();
  const std::size_t shared = common_prefix(held, prompt);
  const auto added = size - static_cast<std::int64_t>(shared);
  return held.empty() || shared < held.size() ||
         added > plan.longest_prompt - plan.cache.keep_tokens;
}

}  // namespace

Generator::Generator(Decoder& decoder, const Tokenizer& tokenizer)
    : state_(new State{decoder, tokenizer, nullptr, {}, {}, {}}) {
  if (!on_gpu()) {
    mx::set_cache_limit(kCpuBufferCacheBytes);
  }
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;

GenerateResult Generator::run(
    std::span<const std::int32_t> prompt,
    const GenerateOptions& options,
    const std::function<void(std::string_view)>& on_text,
    const std::atomic<bool>* cancel) {
  State& state = *state_;
  const ModelSpec& spec = state.decoder.spec();
  validate(options);
  check_prompt(prompt, spec.vocab);
  check_biases(options.sampling, spec.vocab);
  const auto plan = plan_context(
      static_cast<std::int64_t>(prompt.size()),
      spec.context_tokens,
      options);
  Answer answer(state.tokenizer, options.stop, on_text);
  Session& session = state.session_for(plan.cache);
  Run run(
      session,
      Sampler(options.sampling, state.breakers_for(options.sampling.dry)),
      StopTokens(
          spec.eos_tokens,
          options.stop_tokens,
          {options.min_tokens, options.ignore_eos}),
      answer,
      cancel);
  if (!must_cut(session, prompt, plan)) {
    run.prefill(prompt);
    return run.decode(options, plan.max_tokens);
  }
  const auto kept =
      first_and_latest(prompt, plan.cache.keep_tokens, plan.longest_prompt);
  run.prefill(kept);
  GenerateResult result = run.decode(options, plan.max_tokens);
  const auto size = static_cast<int>(prompt.size());
  result.stats.dropped_tokens = size - result.stats.prompt_tokens;
  result.stats.prompt_tokens = size;
  return result;
}

void Generator::warm_up() {
  if (!on_gpu()) {
    return;
  }
  // One chunk and one step: the shapes of prefill and of decode.
  const std::vector<std::int32_t> chunk(16, 0);
  Session scratch(state_->decoder, {});
  mx::eval(*scratch.extend(chunk));
  mx::eval(*scratch.extend(std::span(chunk).first(1)));
}

void Generator::reset() {
  state_->session.reset();
}

}  // namespace roofline
