#include "roofline/plan/traced_run.h"

#include <algorithm>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/model/session.h"
#include "roofline/plan/trace.h"

namespace roofline {

namespace {

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
  mx::array logits = *session.extend(tokens);
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

}  // namespace

int TracedRun::steps() const {
  return std::max(0, static_cast<int>(tokens.size()) - (stopped ? 0 : 1));
}

double TracedRun::prefill_tokens_per_second() const {
  return prefill_seconds > 0 ? prompt_tokens / prefill_seconds : 0;
}

double TracedRun::decode_tokens_per_second() const {
  return decode_seconds > 0 ? steps() / decode_seconds : 0;
}

TracedRun run_traced(
    Decoder& decoder,
    std::span<const std::int32_t> prompt,
    const TracedRunOptions& options,
    const std::function<bool(std::int32_t)>& on_token) {
  TracedRun run;
  run.prompt_tokens = static_cast<int>(prompt.size());
  run.compile_seconds = warm_up(decoder);
  KvOptions cache;
  cache.max_chunk = options.prefill_step;
  Session session(decoder, cache);
  Collecting collecting;
  const auto chunk = static_cast<std::size_t>(options.prefill_step);
  mx::array logits(0.0f);
  const double begin = trace_seconds();
  for (std::size_t at = 0; at < prompt.size(); at += chunk) {
    const double start = trace_seconds();
    logits = forward(
        session,
        prompt.subspan(at, std::min(chunk, prompt.size() - at)));
    trace_span("prefill", start);
    trace_kv_bytes(session.cache().bytes());
  }
  std::int32_t token = likeliest(logits);
  run.prefill_seconds = trace_seconds() - begin;
  run.prefill_ops = collecting.take();

  const auto& ends = decoder.spec().eos_tokens;
  const double decode_begin = trace_seconds();
  double in_forward = 0;
  while (true) {
    const double start = trace_seconds();
    const bool ended = std::find(ends.begin(), ends.end(), token) != ends.end();
    if (ended && !options.ignore_eos) {
      run.stopped = true;
      break;
    }
    run.tokens.push_back(token);
    if (!on_token(token)) {
      break;
    }
    trace_span("text", start, "host");
    if (static_cast<int>(run.tokens.size()) >= options.max_tokens) {
      break;
    }
    const double forward_start = trace_seconds();
    logits = forward(session, {&token, 1});
    in_forward += trace_seconds() - forward_start;
    token = likeliest(logits);
    trace_span("decode", start);
    trace_kv_bytes(session.cache().bytes());
  }
  run.decode_seconds = trace_seconds() - decode_begin;
  run.host_seconds = std::max(0.0, run.decode_seconds - in_forward);
  run.decode_ops = collecting.take();
  run.kv_bytes = session.cache().bytes();
  return run;
}

}  // namespace roofline
