#include "roofline/decode/generate.h"

#include <algorithm>

#include <fmt/format.h>
#include <mlx/device.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/decode/answer.h"
#include "roofline/decode/context_plan.h"
#include "roofline/decode/dry_breakers.h"
#include "roofline/decode/generate_run.h"
#include "roofline/decode/stop_rules.h"
#include "roofline/model/session.h"

namespace roofline {

namespace {

// Freed buffers that MLX may keep on a CPU: more than a step's activations, and
// small beside a model.
constexpr std::size_t kCpuBufferCacheBytes = std::size_t{32} << 20;

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
  std::optional<DraftModel> draft;
  DraftPace pace;  ///< what is known of the draft model stays

  // A session whose cache is as asked; one that fits keeps its tokens.
  Session& session_for(const KvOptions& options) {
    if (!session || !(cache == options)) {
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

namespace {

/// One chunk and one step: the shapes of prefill and of decode.
void run_shapes(Decoder& decoder) {
  const std::vector<std::int32_t> chunk(16, 0);
  Session scratch(decoder, {});
  mx::eval(*scratch.extend(chunk));
  const auto logits = *scratch.extend(std::span(chunk).first(1));
  const DeviceSampler sampler({}, 0);
  mx::eval(sampler.draw(logits, std::nullopt, {}, 0));
}

}  // namespace

Generator::Generator(Decoder& decoder, const Tokenizer& tokenizer)
    : state_(new State{decoder, tokenizer, nullptr, {}, {}, {}, {}, {}}) {
  if (!on_gpu()) {
    mx::set_cache_limit(kCpuBufferCacheBytes);
  }
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;

void Generator::set_draft(Decoder& draft, const Tokenizer& tokenizer) {
  require_same_tokens(state_->tokenizer, tokenizer);
  state_->draft.emplace(draft, state_->decoder.spec().vocab);
  const auto bytes = [](const Decoder& of) {
    return static_cast<double>(of.step_weight_bytes());
  };
  const double own = bytes(state_->decoder);
  state_->pace = DraftPace(own > 0 ? bytes(draft) / own : 1);
}

GenerateResult Generator::run(
    std::span<const std::int32_t> prompt,
    const GenerateOptions& options,
    const std::function<void(std::string_view)>& on_text,
    const std::atomic<bool>* cancel) {
  State& state = *state_;
  const ModelSpec& spec = state.decoder.spec();
  validate(options);
  if (options.num_draft_tokens > 0 && !state.draft) {
    fail<UserError>(
        "num_draft_tokens needs a draft model",
        "Nothing is there to guess with",
        "Name one, or leave num_draft_tokens out");
  }
  check_prompt(prompt, spec.vocab);
  check_biases(options.sampling, spec.vocab);
  const auto plan = plan_context(
      static_cast<std::int64_t>(prompt.size()),
      spec.context_tokens,
      options);
  Answer answer(state.tokenizer, options.stop, on_text);
  Session& session = state.session_for(plan.cache);
  GenerateRun run(
      session,
      Sampler(options.sampling, state.breakers_for(options.sampling.dry)),
      StopTokens(
          spec.eos_tokens,
          options.stop_tokens,
          {options.min_tokens, options.ignore_eos}),
      answer,
      cancel);
  if (state.draft && options.num_draft_tokens > 0) {
    SamplingOptions sampling = options.sampling;
    sampling.seed = run.seed();
    state.draft->begin(
        plan.cache,
        sampling,
        state.breakers_for(options.sampling.dry));
    state.pace.begin(plan.max_tokens);
    run.use(*state.draft, state.pace);
  }
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
  run_shapes(state_->decoder);
  if (state_->draft) {
    run_shapes(state_->draft->decoder());
  }
}

void Generator::reset() {
  state_->session.reset();
  if (state_->draft) {
    state_->draft->reset();
  }
}

}  // namespace roofline
