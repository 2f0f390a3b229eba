// How many tokens a draft model is to guess before each check, from what was
// measured: how often its guesses come true, what one costs, what checking one
// costs. Where no number of them pays, none; then a few are tried again now and
// then, as far as a small share of the time allows. Arithmetic only: it reads
// no clock.
#pragma once

#include <cstddef>
#include <vector>

namespace roofline {

constexpr int kMostDraftTokens = 32;

/// One step of the checking model and what led to it.
struct DraftRound {
  int drafted = 0;           ///< tokens guessed for this step
  int accepted = 0;          ///< of these, the ones that were drawn
  double seconds = 0;        ///< of all: drafting, checking, drawing
  double draft_seconds = 0;  ///< of these, the draft model's
  /// One more guess would have taken so long; 0: not measured.
  double each_draft_seconds = 0;
};

class DraftPace {
 public:
  DraftPace() = default;
  /// guess_share: what a guess is thought to take of a plain step until one was
  /// measured, else 1; the models' sizes tell.
  explicit DraftPace(double guess_share) : guess_share_(guess_share) {}

  /// An answer of at most so many tokens begins.
  void begin(int most_tokens);
  /// Whether a prompt is to be read for guesses: not where it is known that
  /// none pay. A trial reads then what it missed, where that can be borne.
  bool may_pay() const;
  /// The number of tokens to guess in the next step, at most `most`.
  /// catch_up_seconds: what the draft model needs to read what it missed.
  int next(int most, double catch_up_seconds = 0);
  void note(const DraftRound& round);

 private:
  /// The median of the latest few: a neighbour's burst doesn't count.
  class Typical {
   public:
    void add(double value);
    bool known() const { return !values_.empty(); }
    double value() const;

   private:
    static constexpr std::size_t kLatest = 9;
    std::vector<double> values_;
    std::size_t oldest_ = 0;
  };

  bool known() const { return draft_.known() && row_.known(); }
  void note_plain(double seconds);
  void note_guesses(const DraftRound& round);
  int best(int most) const;
  bool affordable(double seconds) const;

  Typical plain_;  ///< seconds of a step without guesses
  Typical draft_;  ///< seconds of a guess
  Typical row_;    ///< seconds of checking one more
  double guess_share_ = 1;
  double lost_steps_ = 1.5;  ///< may be lost in any case
  double tries_ = 4;         ///< of guesses, the latest count most
  double hits_ = 3;          ///< a pair that isn't known yet is a good one
  double elapsed_ = 0;       ///< seconds of all steps
  double lost_ = 0;          ///< seconds against plain steps; negative: gained
  double catch_up_ = 0;      ///< seconds, of the step that runs
  int plain_steps_ = 0;
  int since_plain_ = 0;  ///< steps since one without guesses
  int wait_ = 0;         ///< steps until the next trial
  int pause_ = 0;        ///< steps that wait_ began with
};

}  // namespace roofline
