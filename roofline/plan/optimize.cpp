#include "roofline/plan/optimize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/plan/statistics.h"

namespace roofline {

namespace {

/// Shares of the budget at whose end a stage must be over; the duel has the
/// rest.
constexpr double kFormatsEnd = 0.5;
constexpr double kWaysEnd = 0.75;
/// Tokens of the answer that the first round runs; each later one doubles them.
constexpr int kFirstTokens = 8;
/// Pairs of the duel.
constexpr int kFewestPairs = 3;
constexpr int kMostPairs = 9;
/// What counts as the same memory.
constexpr double kSameBytes = 0.02;
/// A choice for memory may seem this much slower if that may be chance.
constexpr double kSameTime = 1.02;

class Search {
 public:
  Search(OptimizeMeasurer& measurer, const OptimizeOptions& options)
      : measurer_(measurer), options_(options) {}

  OptimizeResult run(
      std::vector<OptimizeCandidate> formats,
      const std::vector<std::vector<RunSettings>>& ways) {
    all_ = std::move(formats);
    sample(0, kFirstTokens);
    // The first one after a load pages in and compiles.
    clear_samples(0);
    sample(0, kFirstTokens);
    std::size_t best = best_format();
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const double done = static_cast<double>(i + 1) / ways.size();
      const double end = kFormatsEnd + (kWaysEnd - kFormatsEnd) * done;
      best = best_way(best, ways[i], end);
    }
    OptimizeResult result;
    duel(best, result);
    mark_front(all_);
    result.candidates = std::move(all_);
    result.used_seconds = measurer_.seconds();
    return result;
  }

 private:
  std::size_t best_format();
  void judge_quality(std::size_t index);
  bool loses_more_bits_already(std::size_t index) const;
  std::size_t best_way(
      std::size_t base,
      const std::vector<RunSettings>& ways,
      double end);
  std::size_t race(std::vector<std::size_t> alive, double end);
  std::vector<std::size_t> survivors(
      const std::vector<std::size_t>& ranked,
      std::size_t control);
  bool race_round(std::vector<std::size_t>& alive, int tokens, double end);
  bool sample(std::size_t index, int tokens);
  void clear_samples(std::size_t index);
  void duel(std::size_t challenger, OptimizeResult& result);
  bool wins(std::size_t challenger, const RatioInterval& time) const;
  std::string reason(std::size_t challenger, const RatioInterval& time) const;
  bool better(std::size_t a, std::size_t b) const;
  void drop(std::size_t index, std::string why);
  void report() const;

  bool fits(const OptimizeCandidate& candidate) const {
    return !options_.max_memory_bytes ||
           candidate.bytes() <= *options_.max_memory_bytes;
  }

  /// Whether one more sample is expected to end before a share of the budget.
  bool affords(double share) const {
    return measurer_.seconds() + cost_ <= share * options_.budget_seconds;
  }

  OptimizeMeasurer& measurer_;
  const OptimizeOptions& options_;
  std::vector<OptimizeCandidate> all_;
  double cost_ = 0;  ///< of the dearest sample of the defaults so far
  std::size_t leader_ = 0;
};

void Search::report() const {
  if (!options_.progress) {
    return;
  }
  const OptimizeCandidate& best = all_[leader_];
  options_.progress(
      std::min(1.0, measurer_.seconds() / options_.budget_seconds),
      fmt::format(
          "best so far {:.1f} tok/s: {}",
          best.decode_speed(),
          best.settings.text()));
}

void Search::drop(std::size_t index, std::string why) {
  all_[index].dropped = std::move(why);
  if (index != 0) {
    measurer_.forget(all_[index].settings);
  }
}

void Search::clear_samples(std::size_t index) {
  all_[index].samples.clear();
  all_[index].prefill_speeds.clear();
  all_[index].decode_speeds.clear();
}

/// False when it dropped out.
bool Search::sample(std::size_t index, int tokens) {
  OptimizeCandidate& candidate = all_[index];
  const double begin = measurer_.seconds();
  OptimizeSample got;
  try {
    got = measurer_.measure(candidate.settings, options_.work, tokens);
  } catch (const Error& error) {
    if (index == 0) {
      throw;
    }
    drop(index, error.what());
    return false;
  }
  if (index == 0) {
    cost_ = std::max(cost_, measurer_.seconds() - begin);
  }
  candidate.samples.push_back(got.seconds(options_.work));
  candidate.prefill_speeds.push_back(
      options_.work.prompt_tokens / got.prefill_seconds);
  candidate.decode_speeds.push_back(got.decode_tokens / got.decode_seconds);
  candidate.peak_bytes = std::max(candidate.peak_bytes, got.peak_bytes);
  const auto& most = options_.max_memory_bytes;
  if (index != 0 && most && candidate.peak_bytes > *most) {
    drop(index, "takes more than --max-memory");
    return false;
  }
  report();
  return true;
}

bool Search::better(std::size_t a, std::size_t b) const {
  const OptimizeCandidate& x = all_[a];
  const OptimizeCandidate& y = all_[b];
  if (fits(x) != fits(y)) {
    return fits(x);
  }
  if (options_.goal == OptimizeGoal::memory) {
    const auto x_bytes = static_cast<double>(x.bytes());
    const auto y_bytes = static_cast<double>(y.bytes());
    if (std::abs(x_bytes - y_bytes) > kSameBytes * std::max(x_bytes, y_bytes)) {
      return x_bytes < y_bytes;
    }
  }
  if (options_.goal == OptimizeGoal::quality && x.quality && y.quality &&
      x.quality->mean_kl != y.quality->mean_kl) {
    return x.quality->mean_kl < y.quality->mean_kl;
  }
  return x.seconds() < y.seconds();
}

/// One sample of each, the order turned in every round. False when time ran
/// out before all had theirs.
bool Search::race_round(
    std::vector<std::size_t>& alive,
    int tokens,
    double end) {
  for (const std::size_t index : alive) {
    if (!affords(end)) {
      return false;
    }
    sample(index, tokens);
  }
  std::erase_if(alive, [this](std::size_t index) {
    return !all_[index].dropped.empty();
  });
  return true;
}

/// The best of `alive`. [0] of them is the one to beat and always runs along.
/// Each round runs twice the tokens with half the candidates.
std::size_t Search::race(std::vector<std::size_t> alive, double end) {
  const std::size_t control = alive.front();
  std::size_t best = control;
  int tokens = std::min(kFirstTokens, options_.work.decode_tokens);
  while (alive.size() > 1) {
    const bool whole = race_round(alive, tokens, end);
    std::vector<std::size_t> ran;
    for (const std::size_t index : alive) {
      if (all_[index].measured() && all_[index].dropped.empty()) {
        ran.push_back(index);
      }
    }
    std::stable_sort(
        ran.begin(),
        ran.end(),
        [this](std::size_t a, std::size_t b) { return better(a, b); });
    best = ran.empty() ? control : ran.front();
    leader_ = best;
    if (!whole || tokens == options_.work.decode_tokens) {
      break;
    }
    tokens = std::min(2 * tokens, options_.work.decode_tokens);
    alive = survivors(ran, control);
  }
  for (const std::size_t index : alive) {
    if (index != best && index != 0) {
      measurer_.forget(all_[index].settings);
    }
  }
  return best;
}

/// The better half of `ranked`, at least two, and `control`, which comes first.
std::vector<std::size_t> Search::survivors(
    const std::vector<std::size_t>& ranked,
    std::size_t control) {
  std::vector<std::size_t> alive = {control};
  const std::size_t keep = std::max<std::size_t>(2, (ranked.size() + 1) / 2);
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    if (ranked[i] == control) {
      continue;
    }
    if (i < keep) {
      alive.push_back(ranked[i]);
    } else {
      measurer_.forget(all_[ranked[i]].settings);
    }
  }
  return alive;
}

void Search::judge_quality(std::size_t index) {
  try {
    all_[index].quality = measurer_.quality(all_[index].settings);
  } catch (const Error& error) {
    drop(index, error.what());
    return;
  }
  const auto& quality = all_[index].quality;
  if (!quality) {
    drop(index, "its quality can't be measured");
  } else if (quality->mean_kl > options_.most_kl) {
    drop(
        index,
        fmt::format(
            "its quality is {:.3f}, under {:.3f}",
            quality->score(),
            std::exp(-options_.most_kl)));
    all_[index].loses_too_much = true;
  }
}

/// Quality is predicted too: what is coarser than a format that was measured to
/// lose too much needs no measuring.
bool Search::loses_more_bits_already(std::size_t index) const {
  const auto bits = [this](std::size_t i) {
    const auto format = format_of(all_[i].settings);
    return format ? format->bits_per_weight() : 16;
  };
  for (std::size_t i = 1; i < all_.size(); ++i) {
    if (all_[i].loses_too_much && bits(i) >= bits(index)) {
      return true;
    }
  }
  return false;
}

std::size_t Search::best_format() {
  std::vector<std::size_t> alive = {0};
  // What the defaults lose is nothing; this is their perplexity.
  if (affords(kFormatsEnd / 2)) {
    all_[0].quality = measurer_.quality(all_[0].settings);
  }
  for (std::size_t i = 1; i < all_.size(); ++i) {
    if (!all_[i].dropped.empty()) {
      continue;
    }
    if (!affords(kFormatsEnd * 0.8)) {
      drop(i, "no time was left to measure its quality");
      continue;
    }
    if (loses_more_bits_already(i)) {
      drop(i, "more bits lose too much already");
      continue;
    }
    judge_quality(i);
    if (all_[i].dropped.empty()) {
      alive.push_back(i);
    }
    report();
  }
  return race(std::move(alive), kFormatsEnd);
}

std::size_t Search::best_way(
    std::size_t base_index,
    const std::vector<RunSettings>& ways,
    double end) {
  std::vector<std::size_t> alive = {base_index};
  const OptimizeCandidate base = all_[base_index];
  for (const RunSettings& way : ways) {
    OptimizeCandidate candidate;
    candidate.settings = combined(base.settings, way);
    candidate.quality = base.quality;
    candidate.predicted_bytes = base.predicted_bytes;
    candidate.predicted_seconds = base.predicted_seconds;
    if (candidate.settings != base.settings) {
      alive.push_back(all_.size());
      all_.push_back(std::move(candidate));
    }
  }
  return race(std::move(alive), end);
}

bool Search::wins(std::size_t challenger, const RatioInterval& time) const {
  if (!fits(all_[0])) {
    return true;  // the defaults aren't allowed
  }
  if (options_.goal == OptimizeGoal::memory) {
    const auto bytes = static_cast<double>(all_[challenger].bytes());
    const auto before = static_cast<double>(all_[0].bytes());
    if (bytes < before * (1 - kSameBytes)) {
      return time.ratio <= 1 || (time.low <= 1 && time.ratio <= kSameTime);
    }
  }
  return time.high < 1;
}

std::string Search::reason(std::size_t challenger, const RatioInterval& time)
    const {
  if (challenger == 0) {
    return "The defaults stay. Nothing that was tried did better in the time "
           "given.";
  }
  const OptimizeCandidate& rival = all_[challenger];
  const std::string duel = fmt::format(
      "in a duel of {} interleaved pairs it took {:.0f} % of the defaults' "
      "time (95 % interval {:.0f} to {:.0f} %)",
      rival.samples.size(),
      100 * time.ratio,
      100 * time.low,
      100 * time.high);
  if (!wins(challenger, time)) {
    return fmt::format(
        "The defaults stay. The best rival was {}, but {}.",
        rival.settings.text(),
        duel);
  }
  const std::string loses =
      rival.quality && rival.quality->mean_kl > 0
          ? fmt::format(
                "It keeps {:.3f} of the quality and takes {:.0f} MB where the "
                "defaults take {:.0f} MB.",
                rival.quality->score(),
                static_cast<double>(rival.bytes()) / 1e6,
                static_cast<double>(all_[0].bytes()) / 1e6)
          : "Its answers are those of the weights as they are stored.";
  return fmt::format("{}: {}. {}", rival.settings.text(), duel, loses);
}

void Search::duel(std::size_t challenger, OptimizeResult& result) {
  RatioInterval time = {1, 1, 1};
  if (challenger != 0) {
    clear_samples(0);
    clear_samples(challenger);
    for (int pair = 0; pair < kMostPairs; ++pair) {
      // Twice: a pair is two samples.
      if (measurer_.seconds() + 2 * cost_ > options_.budget_seconds &&
          pair > 0) {
        break;
      }
      const std::size_t first = pair % 2 == 0 ? 0 : challenger;
      sample(first, options_.work.decode_tokens);
      sample(challenger - first, options_.work.decode_tokens);
    }
    time = ratio_of_medians(all_[0].samples, all_[challenger].samples);
    const bool enough = all_[challenger].dropped.empty() &&
                        all_[challenger].samples.size() >= kFewestPairs;
    if (!enough) {
      result.why = fmt::format(
          "The defaults stay. The budget had no time for a duel of {} pairs "
          "with {}: raise --budget.",
          kFewestPairs,
          all_[challenger].settings.text());
      return;
    }
  }
  result.why = reason(challenger, time);
  if (challenger != 0 && wins(challenger, time)) {
    result.choice = challenger;
    result.speedup = 1 / time.ratio;
    result.speedup_low = 1 / time.high;
    result.speedup_high = 1 / time.low;
  }
}

}  // namespace

OptimizeResult optimize(
    std::vector<OptimizeCandidate> formats,
    const std::vector<std::vector<RunSettings>>& ways,
    OptimizeMeasurer& measurer,
    const OptimizeOptions& options) {
  return Search(measurer, options).run(std::move(formats), ways);
}

}  // namespace roofline
