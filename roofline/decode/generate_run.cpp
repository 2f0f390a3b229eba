#include "roofline/decode/generate_run.h"

#include <algorithm>
#include <utility>

#include <mlx/memory.h>
#include <mlx/transforms.h>

#include "roofline/base/clock.h"
#include "roofline/decode/logit_row.h"
#include "roofline/decode/penalties.h"

namespace roofline {

GenerateRun::GenerateRun(
    Session& session,
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

void GenerateRun::use(DraftModel& draft, DraftPace& pace) {
  draft_ = &draft;
  pace_ = &pace;
}

void GenerateRun::prefill(std::span<const std::int32_t> prompt) {
  const auto cached = session_.keep_prefix_of(prompt);
  result_.stats.prompt_tokens = static_cast<int>(prompt.size());
  result_.stats.cached_tokens = static_cast<int>(cached);
  logits_ = session_.extend(
      prompt.subspan(static_cast<std::size_t>(cached)),
      LogitRows::last,
      [&] { return cancelled(); },
      deciding_logits());
  if (logits_) {
    lazy_ = !logits_->is_available();
    mx::eval(*logits_);
  }
  if (on_gpu()) {
    mx::clear_cache();
  }
  // Of a prompt that was cut short there is no speed to tell.
  result_.stats.prefill_seconds = logits_ ? seconds_since(start_) : 0;
  if (draft_ && logits_ && pace_->may_pay()) {
    const auto start = Clock::now();
    if (!draft_->read(session_.tokens(), [&] { return cancelled(); })) {
      logits_.reset();
    }
    result_.stats.draft_prefill_seconds = seconds_since(start);
  }
}

/// What was said, as far as it is held against the answer: what a rotating
/// cache has let go no longer is.
std::span<const std::int32_t> GenerateRun::last_in_cache() const {
  const std::span<const std::int32_t> run = session_.tokens();
  return last_tokens(
      run.first(run.size() - unconfirmed()),
      session_.cache().options().max_tokens.value_or(-1));
}

/// Of the next draw's row.
DecidingLogits GenerateRun::deciding_logits() const {
  return sampler_.deciding_logits(stops_.banned(generated()).size());
}

SampledToken GenerateRun::draw() {
  read_logit_row(*logits_, first_row_ + accepted_, row_);
  return sampler_.sample(row_, last_in_cache(), stops_.banned(generated()));
}

void GenerateRun::note_first_token() {
  if (!result_.stats.first_token_at) {
    const auto now = Clock::now();
    result_.stats.first_token_at = now;
    result_.stats.first_token_seconds =
        std::chrono::duration<double>(now - start_).count();
  }
}

void GenerateRun::note_token() {
  GenerateStats& stats = result_.stats;
  stats.generated_tokens = generated();
  if (generated() == 1) {
    first_token_ = Clock::now();
  } else {
    stats.decode_seconds = seconds_since(first_token_);
  }
}

/// Takes back the proposals that were not drawn.
void GenerateRun::drop_proposals() {
  if (unconfirmed() > 0) {
    const auto confirmed = session_.tokens().size() - unconfirmed();
    again_ = session_.go_back(static_cast<std::int64_t>(confirmed));
  }
  proposals_.clear();
  accepted_ = 0;
}

bool GenerateRun::can_try(std::size_t proposals) const {
  return session_.can_try(
      static_cast<std::int64_t>(again_.size() + 1 + proposals));
}

void GenerateRun::look_up(int most) {
  if (!lookup_ || most < 1) {
    return;
  }
  const auto found = lookup_->propose(most);
  if (!found.empty() && can_try(found.size())) {
    proposals_.assign(found.begin(), found.end());
    result_.stats.proposed_tokens += static_cast<int>(found.size());
  }
}

void GenerateRun::draft(std::int32_t token, int most, bool always) {
  if (!draft_ || most < 1 || !proposals_.empty()) {
    return;
  }
  std::vector<std::int32_t> history = session_.tokens();
  history.insert(history.end(), again_.begin(), again_.end());
  history.push_back(token);
  if (!draft_->can_guess(history, most) ||
      !can_try(static_cast<std::size_t>(most))) {
    return;
  }
  const int count =
      always ? most : pace_->next(most, draft_->catch_up_seconds(history));
  if (count == 0) {
    return;
  }
  const auto guesses =
      draft_->guess({history, sampler_.step(), generated(), &stops_}, count);
  proposals_.assign(guesses.tokens.begin(), guesses.tokens.end());
  round_.drafted = static_cast<int>(proposals_.size());
  round_.draft_seconds = guesses.seconds;
  round_.each_draft_seconds = guesses.each_seconds;
  result_.stats.drafted_tokens += round_.drafted;
}

/// Books the last step, whose draws are over.
void GenerateRun::end_round() {
  const auto now = Clock::now();
  if (pace_ && round_start_) {
    round_.seconds = std::chrono::duration<double>(now - *round_start_).count();
    pace_->note(round_);
  }
  round_ = {};
  round_start_ = now;
}

/// Makes the logits of what follows `token`, unless a step before made them.
/// room: for tokens after it.
void GenerateRun::step(
    std::int32_t token,
    const GenerateOptions& options,
    int room) {
  if (unconfirmed() > 0 && proposals_[accepted_] == token) {
    ++accepted_;
    ++result_.stats.accepted_tokens;
    if (round_.drafted > 0) {
      ++round_.accepted;
      ++result_.stats.accepted_drafts;
    }
    return;
  }
  drop_proposals();
  end_round();
  look_up(std::min(options.prompt_lookup, room));
  draft(token, std::min(options.num_draft_tokens, room), options.draft_always);
  std::vector<std::int32_t> tokens = std::exchange(again_, {});
  first_row_ = proposals_.empty() ? 0 : tokens.size();
  tokens.push_back(token);
  tokens.insert(tokens.end(), proposals_.begin(), proposals_.end());
  if (!proposals_.empty()) {
    session_.keep_state();
  }
  const LogitRows rows = proposals_.empty() ? LogitRows::last : LogitRows::all;
  const DecidingLogits deciding = deciding_logits().of_rows(
      rows == LogitRows::all ? static_cast<int>(tokens.size()) : 1);
  result_.stats.all_logits = deciding.all();
  logits_ = session_.extend(tokens, rows, {}, deciding);
  if (lazy_) {
    mx::async_eval(*logits_);
  }
}

FinishReason GenerateRun::loop(const GenerateOptions& options, int max_tokens) {
  while (generated() < max_tokens) {
    if (!logits_ || cancelled()) {
      return FinishReason::cancelled;
    }
    SampledToken sample = draw();
    const std::int32_t token = sample.token;
    note_first_token();
    if (stops_.stops(token)) {
      return FinishReason::stop_token;
    }
    result_.tokens.push_back(token);
    note_token();
    if (options.sampling.top_logprobs > 0) {
      result_.logprobs.push_back(std::move(sample));
    }
    if (lookup_) {
      lookup_->push(token);
    }
    const bool more = generated() < max_tokens;
    const int room = max_tokens - generated() - 1;
    if (more && lazy_) {
      step(token, options, room);
    }
    if (!answer_.push(token, generated() >= options.min_tokens)) {
      return FinishReason::stop_string;
    }
    if (more && !lazy_) {
      step(token, options, room);
    }
    if (generated() % kClearCacheSteps == 0 && on_gpu()) {
      mx::clear_cache();
    }
  }
  return logits_ ? FinishReason::length : FinishReason::cancelled;
}

/// What a plain step reads where few logits decide, as a share of one
/// that makes all, as those do that check guesses: on AVX-512 they don't, but
/// guesses that are weighed so gain nothing more there.
double GenerateRun::plain_share() const {
  const Decoder& decoder = session_.decoder();
  const auto bytes = [&](bool all_logits) {
    return static_cast<double>(decoder.step_weight_bytes(all_logits));
  };
  return bytes(true) > 0 ? bytes(deciding_logits().all()) / bytes(true) : 1;
}

GenerateResult GenerateRun::decode(
    const GenerateOptions& options,
    int max_tokens) {
  if (options.prompt_lookup > 0) {
    // On a GPU it was not measured: rows are taken to be as cheap there.
    const StepCosts& costs =
        usual_step_costs(on_gpu() ? Isa::avx512 : active_isa());
    lookup_.emplace(session_.tokens(), costs.beside(plain_share()));
  }
  if (draws_on_device(options)) {
    try {
      result_.finish = loop_on_device(options, max_tokens);
    } catch (...) {
      session_.clear();  // it may end with a token that nobody has read
      throw;
    }
  } else {
    result_.finish = loop(options, max_tokens);
  }
  drop_proposals();
  const bool stopped = result_.finish == FinishReason::stop_string;
  if (!stopped && !answer_.finish(generated() >= options.min_tokens)) {
    result_.finish = FinishReason::stop_string;
  }
  result_.text = answer_.text();
  return std::move(result_);
}

}  // namespace roofline
