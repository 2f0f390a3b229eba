#include "roofline/plan/traced_run.h"

#include <algorithm>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/decode/context_plan.h"
#include "roofline/model/session.h"
#include "roofline/plan/trace.h"

namespace roofline {

namespace {

/// Operations of a layer that the trace shows one by one: the first steps, a
/// megabyte of a trace.
constexpr std::size_t kMostLaps = 8000;

/// Ends the collection whatever happens.
class Collecting {
 public:
  Collecting() { OpTimes::collect(&times); }
  ~Collecting() { OpTimes::collect(nullptr); }
  Collecting(const Collecting&) = delete;
  Collecting& operator=(const Collecting&) = delete;

  /// What came together since the last call; absent when no step took part.
  std::optional<OpTimes::Totals> take() {
    const OpTimes::Totals totals = times.totals();
    times.clear();
    const bool any = std::any_of(
        totals.begin(),
        totals.end(),
        [](const OpTimes::Total& total) { return total.seconds > 0; });
    return any ? std::optional(totals) : std::nullopt;
  }

  OpTimes times;
};

/// The logits of `tokens`, evaluated; building and running the graph apart
/// where the decoder leaves that to us.
mx::array forward(Session& session, std::span<const std::int32_t> tokens) {
  const double start = trace_seconds();
  // The likeliest token is all that is drawn.
  mx::array logits =
      *session.extend(tokens, LogitRows::last, {}, DecidingLogits{1});
  if (logits.is_available()) {
    trace_span("forward", start, "forward");
    return logits;
  }
  trace_span("build", start, "forward");
  const double built = trace_seconds();
  mx::eval(logits);
  trace_span("evaluate", built, "forward");
  return logits;
}

std::int32_t likeliest(const mx::array& logits) {
  const double start = trace_seconds();
  const auto token = static_cast<std::int32_t>(
      mx::argmax(mx::reshape(logits, {-1})).item<std::uint32_t>());
  trace_span("argmax", start, "host");
  return token;
}

double warm_up(Decoder& decoder) {
  Session scratch(decoder, {});
  const std::int32_t token = 0;
  double seconds[2] = {};
  const char* const names[2] = {
      "warm-up: first step, compiles",
      "warm-up: second step"};
  for (int i = 0; i < 2; ++i) {
    const double start = trace_seconds();
    mx::eval(*scratch.extend({&token, 1}));
    seconds[i] = trace_seconds() - start;
    trace_span(names[i], start);
  }
  return std::max(0.0, seconds[0] - seconds[1]);
}

/// The run's stages; what they take goes into `run`.
class Tracing {
 public:
  Tracing(
      Decoder& decoder,
      const TracedRunOptions& options,
      const ContextPlan& plan,
      TracedRun& run)
      : options_(options),
        max_tokens_(plan.max_tokens),
        ends_(decoder.spec().eos_tokens),
        session_(decoder, plan.cache),
        run_(run) {
    collecting_.times.keep_laps(kMostLaps);
  }

  /// The first token.
  std::int32_t prefill(std::span<const std::int32_t> prompt) {
    const auto chunk = static_cast<std::size_t>(options_.prefill_step);
    std::optional<mx::array> logits;
    const double begin = trace_seconds();
    for (std::size_t at = 0; at < prompt.size(); at += chunk) {
      const double start = trace_seconds();
      const std::size_t count = std::min(chunk, prompt.size() - at);
      logits = forward(session_, prompt.subspan(at, count));
      trace_span("prefill", start);
      trace_kv_bytes(session_.cache().bytes());
    }
    const std::int32_t token = likeliest(*logits);
    run_.prefill_seconds = trace_seconds() - begin;
    run_.prefill_ops = collecting_.take();
    return token;
  }

  void decode(
      std::int32_t token,
      const std::function<bool(std::int32_t)>& on_token) {
    const double begin = trace_seconds();
    double in_forward = 0;
    while (accept(token, on_token)) {
      const double start = trace_seconds();
      const mx::array logits = forward(session_, {&token, 1});
      in_forward += trace_seconds() - start;
      token = likeliest(logits);
      ++run_.steps;
      trace_span("decode", start);
      trace_kv_bytes(session_.cache().bytes());
    }
    run_.decode_seconds = trace_seconds() - begin;
    run_.host_seconds = std::max(0.0, run_.decode_seconds - in_forward);
    run_.decode_ops = collecting_.take();
    run_.kv_bytes = session_.cache().bytes();
  }

  void trace_operations() {
    for (const OpTimes::Lap& lap : collecting_.times.laps()) {
      trace_span_between(
          std::string(kStepOpNames[static_cast<std::size_t>(lap.op)]),
          lap.begin,
          lap.end,
          "operation");
    }
  }

 private:
  /// Whether another step follows.
  bool accept(
      std::int32_t token,
      const std::function<bool(std::int32_t)>& on_token) {
    const bool end =
        std::find(ends_.begin(), ends_.end(), token) != ends_.end();
    if (end && !options_.ignore_eos) {
      run_.stopped = true;
      return false;
    }
    const double start = trace_seconds();
    run_.tokens.push_back(token);
    run_.interrupted = !on_token(token);
    trace_span("text", start, "host");
    return !run_.interrupted &&
           static_cast<int>(run_.tokens.size()) < max_tokens_;
  }

  const TracedRunOptions& options_;
  int max_tokens_;
  const std::vector<std::int32_t>& ends_;
  Session session_;
  Collecting collecting_;
  TracedRun& run_;
};

}  // namespace

double TracedRun::prefill_tokens_per_second() const {
  return prefill_seconds > 0 ? prompt_tokens / prefill_seconds : 0;
}

double TracedRun::decode_tokens_per_second() const {
  return decode_seconds > 0 ? steps / decode_seconds : 0;
}

TracedRun run_traced(
    Decoder& decoder,
    std::span<const std::int32_t> prompt,
    const TracedRunOptions& options,
    const std::function<bool(std::int32_t)>& on_token) {
  GenerateOptions asked;
  asked.max_tokens = options.max_tokens;
  asked.prefill_chunk = options.prefill_step;
  const ContextPlan plan = plan_context(
      static_cast<std::int64_t>(prompt.size()),
      decoder.spec().context_tokens,
      asked);
  TracedRun run;
  run.prompt_tokens = static_cast<int>(prompt.size());
  run.compile_seconds = warm_up(decoder);
  Tracing tracing(decoder, options, plan, run);
  tracing.decode(tracing.prefill(prompt), on_token);
  tracing.trace_operations();
  return run;
}

}  // namespace roofline
