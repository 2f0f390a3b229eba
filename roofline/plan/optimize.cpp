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
      const std::vector<RunSettings>& ways) {
    all_ = std::move(formats);
    sample(0, kFirstTokens);
    // The first one after a load pages in and compiles.
    clear_samples(0);
    sample(0, kFirstTokens);
    const std::size_t format = best_format();
    const std::size_t way = best_way(format, ways);
    OptimizeResult result;
    duel(way, result);
    mark_front(all_);
    result.candidates = std::move(all_);
    result.used_seconds = measurer_.seconds();
    return result;
  }

 private:
  std::size_t best_format();
  void judge_quality(std::size_t index);
  std::size_t best_way(
      std::size_t format,
      const std::vector<RunSettings>& ways);
  std::size_t race(std::vector<std::size_t> alive, double end);
  bool race_round(std::vector<std::size_t>& alive, int tokens, double end);
  bool sample(std::size_t index, int tokens);
  void clear_samples(std::size_t index);
  void duel(std::size_t challenger, OptimizeResult& result);
  bool wins(std::size_t challenger, const RatioInterval& time) const;
  std::string reason(std::size_t challenger, const RatioInterval& time) const;
  bool better(std::size_t a, std::size_t b) const;
  void drop(std::size_t index, std::string why);
  void report() const;

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

/// The best of `alive`, [0] of which is the one to beat and always runs along.
std::size_t Search::race(std::vector<std::size_t> alive, double end) {
  const std::size_t control = alive.front();
  std::vector<std::size_t> ran = {control};
  for (int tokens = kFirstTokens; alive.size() > 1; tokens *= 2) {
    tokens = std::min(tokens, options_.work.decode_tokens);
    const bool whole = race_round(alive, tokens, end);
    ran.clear();
    for (const std::size_t index : alive) {
      if (all_[index].measured()) {
        ran.push_back(index);
      }
    }
    std::stable_sort(
        ran.begin(),
        ran.end(),
        [this](std::size_t a, std::size_t b) { return better(a, b); });
    leader_ = ran.empty() ? leader_ : ran.front();
    if (!whole || ran.size() <= 2) {
      break;
    }
    for (std::size_t i = (ran.size() + 1) / 2; i < ran.size(); ++i) {
      if (ran[i] != control && ran[i] != 0) {
        measurer_.forget(all_[ran[i]].settings);
      }
    }
    ran.resize((ran.size() + 1) / 2);
    alive = ran;
    std::reverse(alive.begin(), alive.end());
    if (std::find(alive.begin(), alive.end(), control) == alive.end()) {
      alive.push_back(control);
    }
  }
  return ran.empty() ? control : ran.front();
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
            "loses {:.3f} nats a token, over --min-quality",
            quality->mean_kl));
  }
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
    judge_quality(i);
    if (all_[i].dropped.empty()) {
      alive.push_back(i);
    }
    report();
  }
  return race(std::move(alive), kFormatsEnd);
}

std::size_t Search::best_way(
    std::size_t format,
    const std::vector<RunSettings>& ways) {
  std::vector<std::size_t> alive = {format};
  const OptimizeCandidate base = all_[format];
  for (const RunSettings& way : ways) {
    OptimizeCandidate candidate;
    candidate.settings = combined(base.settings, way);
    candidate.quality = base.quality;
    candidate.predicted_bytes = base.predicted_bytes;
    if (candidate.settings == base.settings) {
      continue;
    }
    alive.push_back(all_.size());
    all_.push_back(std::move(candidate));
  }
  const std::size_t best = race(alive, kWaysEnd);
  // Single settings that each help are tried together.
  OptimizeCandidate joint = base;
  clear_samples(best);
  joint.settings = all_[best].settings;
  sample(best, kFirstTokens);
  return best;
}

bool Search::wins(std::size_t challenger, const RatioInterval& time) const {
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
                "It loses {:.4f} nats a token and holds {:.0f} MB, the "
                "defaults {:.0f} MB.",
                rival.quality->mean_kl,
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

/// Smaller is better in all three.
struct Marks {
  double seconds = 0;
  double bytes = 0;
  double kl = 0;
};

bool beats(const Marks& a, const Marks& b) {
  const bool no_worse =
      a.seconds <= b.seconds && a.bytes <= b.bytes && a.kl <= b.kl;
  return no_worse &&
         (a.seconds < b.seconds || a.bytes < b.bytes || a.kl < b.kl);
}

Marks marks_of(const OptimizeCandidate& candidate, bool measured) {
  return {
      measured ? candidate.seconds() : candidate.predicted_seconds,
      static_cast<double>(candidate.bytes()),
      candidate.quality ? candidate.quality->mean_kl : 0};
}

}  // namespace

double OptimizeSample::seconds(const Workload& work) const {
  return prefill_seconds +
         decode_seconds * work.decode_tokens / std::max(1, decode_tokens);
}

double OptimizeCandidate::seconds() const {
  return median_of(samples);
}

double OptimizeCandidate::prefill_speed() const {
  return median_of(prefill_speeds);
}

double OptimizeCandidate::decode_speed() const {
  return median_of(decode_speeds);
}

std::uint64_t OptimizeCandidate::bytes() const {
  return peak_bytes > 0 ? peak_bytes : predicted_bytes;
}

RunSettings combined(RunSettings base, const RunSettings& way) {
  const auto take = [](auto& to, const auto& from) {
    if (from) {
      to = from;
    }
  };
  take(base.prefill_step, way.prefill_step);
  take(base.threads, way.threads);
  take(base.isa, way.isa);
  take(base.cache_limit_bytes, way.cache_limit_bytes);
  return base;
}

void mark_front(std::span<OptimizeCandidate> candidates) {
  const bool any = std::any_of(
      candidates.begin(),
      candidates.end(),
      [](const OptimizeCandidate& c) { return c.measured(); });
  for (OptimizeCandidate& candidate : candidates) {
    candidate.on_front = candidate.measured() == any;
    for (const OptimizeCandidate& other : candidates) {
      if (other.measured() == any &&
          beats(marks_of(other, any), marks_of(candidate, any))) {
        candidate.on_front = false;
      }
    }
  }
}

OptimizeResult optimize(
    std::vector<OptimizeCandidate> formats,
    const std::vector<RunSettings>& ways,
    OptimizeMeasurer& measurer,
    const OptimizeOptions& options) {
  return Search(measurer, options).run(std::move(formats), ways);
}

}  // namespace roofline
