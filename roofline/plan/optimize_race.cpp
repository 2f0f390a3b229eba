#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/plan/optimize_search.h"

namespace roofline {

namespace {

/// Pairs of the duel.
constexpr int kFewestPairs = 3;
constexpr int kMostPairs = 9;
/// What counts as the same memory.
constexpr double kSameBytes = 0.02;
/// A choice for memory may seem this much slower if that may be chance.
constexpr double kSameTime = 1.02;

}  // namespace

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
      options_.work.prompt_tokens * got.batch / got.prefill_seconds);
  candidate.decode_speeds.push_back(
      got.decode_tokens * got.batch / got.decode_seconds);
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
  if (challenger == 0 && !fits(all_[0])) {
    return "Nothing that was tried fits into --max-memory.";
  }
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

}  // namespace roofline
