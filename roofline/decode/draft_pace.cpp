#include "roofline/decode/draft_pace.h"

#include <algorithm>

namespace roofline {

namespace {

/// Plain steps at first, to know what one takes: the very first is slow.
constexpr int kFirstPlain = 4;
/// Of all the time, what guessing may lose against plain steps: below the 5 %
/// that a pair of models may be slower, because a trial is booked afterwards.
constexpr double kMostLostShare = 0.02;
/// What it may lose in any case, in plain steps: enough for two trials; in a
/// short answer only this share of its tokens.
constexpr double kMostLostSteps = 1.5;
constexpr double kMostLostOfAnswer = 0.02;
/// What checking a guess is thought to take of a plain step until it is known.
constexpr double kRowShare = 0.25;
/// What was gained before may be lost again, but no more of it than this.
constexpr double kMostSavedSteps = 20;
/// Guesses of a trial.
constexpr int kTrial = 2;
/// A step counts as at most so many times what was expected of it: the rest is
/// a neighbour's doing.
constexpr double kMostSurprise = 2;
constexpr int kShortestPause = 16;
constexpr int kLongestPause = 256;
/// A step without guesses now and then, so that what it takes stays known: the
/// machine is faster at one time than at another.
constexpr int kPlainEvery = 12;
/// How much a try still counts after the next one: the latest 32 decide.
constexpr double kWeightKept = 1 - 1.0 / 32;
/// Guessing must gain so much to be worth it: less is in the noise.
constexpr double kLeastGain = 1.03;

}  // namespace

void DraftPace::Typical::add(double value) {
  if (values_.size() < kLatest) {
    values_.push_back(value);
    return;
  }
  values_[oldest_] = value;
  oldest_ = (oldest_ + 1) % kLatest;
}

double DraftPace::Typical::value() const {
  std::vector<double> sorted = values_;
  const auto middle =
      sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

/// The number of guesses that makes the most tokens in a second; 0 when none
/// makes clearly more than a plain step.
int DraftPace::best(int most) const {
  const double plain = plain_.value();
  const double each = draft_.value() + row_.value();
  const double share = hits_ / tries_;
  int found = 0;
  double best_rate = kLeastGain / plain;
  double chance = 1;
  double expected = 1;
  for (int count = 1; count <= most; ++count) {
    chance *= share;
    expected += chance;
    const double rate = expected / (plain + count * each);
    if (rate > best_rate) {
      found = count;
      best_rate = rate;
    }
  }
  return found;
}

bool DraftPace::affordable(double seconds) const {
  return lost_ + seconds <=
         kMostLostShare * elapsed_ + lost_steps_ * plain_.value();
}

void DraftPace::begin(int most_tokens) {
  lost_steps_ = std::min(kMostLostSteps, kMostLostOfAnswer * most_tokens);
}

bool DraftPace::may_pay() const {
  return !known() || best(kMostDraftTokens) > 0;
}

int DraftPace::next(int most, double catch_up_seconds) {
  catch_up_ = catch_up_seconds;
  if (most < 1 || plain_steps_ < kFirstPlain || since_plain_ >= kPlainEvery) {
    return 0;
  }
  const int count = known() ? best(most) : 0;
  if (count > 0) {
    return affordable(catch_up_seconds) ? count : 0;
  }
  // The first one is to find out what a guess costs.
  const int trial = known() ? std::min(kTrial, most) : 1;
  const double cost = known() ? trial * (draft_.value() + row_.value())
                              : (guess_share_ + kRowShare) * plain_.value();
  return wait_ == 0 && affordable(catch_up_seconds + cost) ? trial : 0;
}

void DraftPace::note_plain(double seconds) {
  plain_.add(seconds);
  ++plain_steps_;
  since_plain_ = 0;
  wait_ = std::max(0, wait_ - 1);
}

void DraftPace::note_guesses(const DraftRound& round) {
  ++since_plain_;
  const bool all = round.accepted == round.drafted;
  for (int i = 0; i < round.accepted + (all ? 0 : 1); ++i) {
    tries_ = tries_ * kWeightKept + 1;
    hits_ = hits_ * kWeightKept + (i < round.accepted ? 1 : 0);
  }
  if (round.each_draft_seconds > 0) {
    draft_.add(round.each_draft_seconds);
  }
  const double plain = plain_.value();
  const double checking = round.seconds - round.draft_seconds - plain;
  row_.add(std::max(0.0, checking) / round.drafted);
  const double expected =
      plain + catch_up_ +
      round.drafted *
          ((draft_.known() ? draft_.value() : plain) + row_.value());
  lost_ += std::min(round.seconds, kMostSurprise * expected) -
           (1 + round.accepted) * plain;
  lost_ = std::max(lost_, -kMostSavedSteps * plain);
  if (all) {
    // It may have begun to pay: the next trial comes at once.
    pause_ = 0;
    wait_ = 0;
  } else {
    pause_ = std::clamp(2 * pause_, kShortestPause, kLongestPause);
    wait_ = pause_;
  }
}

void DraftPace::note(const DraftRound& round) {
  elapsed_ += round.seconds;
  if (round.drafted == 0) {
    note_plain(round.seconds);
  } else if (plain_.known()) {
    note_guesses(round);
  }
}

}  // namespace roofline
