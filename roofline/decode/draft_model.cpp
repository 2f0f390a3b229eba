#include "roofline/decode/draft_model.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <mlx/transforms.h>

#include "roofline/base/clock.h"
#include "roofline/base/errors.h"
#include "roofline/decode/logit_row.h"
#include "roofline/decode/penalties.h"

namespace roofline {

namespace {

[[noreturn]] void fail_different(const std::string& why) {
  fail<UserError>(
      "The draft model has another vocabulary than the model",
      why,
      "Take a smaller model of the same family: both must have the same "
      "tokens");
}

/// Room beside the guesses: what was missed and the token before.
constexpr int kMostMissed = 2;

}  // namespace

void require_same_tokens(const Tokenizer& model, const Tokenizer& draft) {
  const std::int32_t size = std::min(model.vocab_size(), draft.vocab_size());
  for (std::int32_t id = 0; id < size; ++id) {
    const std::string own = model.token_text(id);
    const std::string other = draft.token_text(id);
    if (own != other) {
      fail_different(fmt::format(
          "Token {} is \"{}\" in the model and \"{}\" in the draft model",
          id,
          own,
          other));
    }
  }
  if (model.vocab_size() != draft.vocab_size()) {
    const bool more = model.vocab_size() > size;
    fail_different(fmt::format(
        "Token {} is \"{}\" in the {} and isn't in the {}",
        size,
        (more ? model : draft).token_text(size),
        more ? "model" : "draft model",
        more ? "draft model" : "model"));
  }
}

DraftModel::DraftModel(Decoder& decoder, int vocab)
    : decoder_(decoder), vocab_(vocab) {}

void DraftModel::begin(
    const KvOptions& cache,
    const SamplingOptions& sampling,
    std::vector<std::int32_t> breaker_tokens) {
  if (!session_ || !cache_ || !(*cache_ == cache)) {
    session_ = std::make_unique<Session>(decoder_, cache);
    cache_ = cache;
  }
  SamplingOptions options = sampling;
  options.top_logprobs = 0;
  sampler_.emplace(options, std::move(breaker_tokens));
}

bool DraftModel::read(
    std::span<const std::int32_t> prompt,
    const Session::Stop& stop) {
  if (prompt.size() < 2 || !can_guess(prompt, 1)) {
    return true;
  }
  const auto start = Clock::now();
  const auto held = session_->keep_prefix_of(prompt);
  const auto rest =
      prompt.first(prompt.size() - 1).subspan(static_cast<std::size_t>(held));
  if (rest.empty()) {
    return true;
  }
  // None is drawn from.
  const auto logits =
      session_->extend(rest, LogitRows::last, stop, DecidingLogits{1});
  if (!logits) {
    return false;
  }
  mx::eval(*logits);
  read_seconds_ = seconds_since(start) / static_cast<double>(rest.size());
  return true;
}

bool DraftModel::can_guess(std::span<const std::int32_t> history, int most)
    const {
  const ModelSpec& spec = decoder_.spec();
  const auto end = static_cast<std::int64_t>(history.size()) + most;
  // A padded vocabulary may have ids that the smaller one's table lacks.
  return (spec.context_tokens <= 0 || end <= spec.context_tokens) &&
         session_->cache().options().max_chunk >= most + kMostMissed &&
         std::all_of(history.begin(), history.end(), [&](std::int32_t id) {
           return id < spec.vocab;
         });
}

double DraftModel::catch_up_seconds(
    std::span<const std::int32_t> history) const {
  const auto shared = common_prefix(session_->tokens(), history);
  const auto missed = static_cast<double>(history.size() - shared);
  return missed <= kMostMissed ? 0 : missed * read_seconds_;
}

/// From the row that stands in row_, where sampler_ stands.
std::int32_t DraftModel::draw(const DraftQuestion& question) {
  // As many as the model has, so that penalties and biases find their tokens.
  row_.resize(
      static_cast<std::size_t>(vocab_),
      -std::numeric_limits<float>::infinity());
  const auto ahead = static_cast<int>(guesses_.size());
  const auto limit = cache_->max_tokens.value_or(-1);
  return sampler_
      ->sample(
          row_,
          last_tokens(history_, limit),
          question.stops->banned(question.generated + ahead))
      .token;
}

DraftModel::Guesses DraftModel::guess(const DraftQuestion& question, int most) {
  const auto start = Clock::now();
  guesses_.clear();
  history_.assign(question.history.begin(), question.history.end());
  const auto held = session_->keep_prefix_of(history_);
  auto next = std::span<const std::int32_t>(history_).subspan(
      static_cast<std::size_t>(held));
  const bool caught_up = next.size() <= kMostMissed;
  auto first_done = start;
  while (static_cast<int>(guesses_.size()) < most) {
    const auto ahead = static_cast<int>(guesses_.size());
    sampler_->go_to(question.step + static_cast<std::uint64_t>(ahead));
    auto logits = session_->extend(
        next,
        LogitRows::last,
        {},
        sampler_->deciding_logits(
            question.stops->banned(question.generated + ahead).size()));
    read_logit_row(*logits, 0, row_);
    if (guesses_.empty()) {
      // Where recurrent layers go back to when a guess doesn't come true.
      session_->keep_state();
    }
    const std::int32_t token = draw(question);
    if (guesses_.empty()) {
      first_done = Clock::now();
    }
    if (question.stops->stops(token)) {
      break;
    }
    guesses_.push_back(token);
    history_.push_back(token);
    next = std::span<const std::int32_t>(history_).last(1);
  }
  Guesses out{guesses_, seconds_since(start), 0};
  const auto further = static_cast<double>(guesses_.size()) - 1;
  if (further >= 1) {
    out.each_seconds = seconds_since(first_done) / further;
  } else if (caught_up) {
    out.each_seconds = out.seconds;
  }
  return out;
}

}  // namespace roofline
