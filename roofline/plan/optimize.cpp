#include "roofline/plan/optimize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/plan/optimize_search.h"

namespace roofline {

OptimizeResult Search::run(
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
  tell(best);
  OptimizeResult result;
  duel(best, result);
  mark_front(all_);
  result.candidates = std::move(all_);
  result.used_seconds = measurer_.seconds();
  return result;
}

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

void Search::judge_quality(std::size_t index) {
  try {
    all_[index].quality = measurer_.quality(all_[index].settings);
  } catch (const Error& error) {
    drop(index, error.what());
    return;
  }
  const auto& quality = all_[index].quality;
  if (!quality) {
    drop(index, "its quality couldn't be measured in the time given");
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
  const RunSettings& mine = all_[index].settings;
  return std::any_of(all_.begin(), all_.end(), [&](const auto& other) {
    if (!other.loses_too_much ||
        other.bits_per_weight < all_[index].bits_per_weight) {
      return false;
    }
    // Only 8 bits throughout are better than every mix.
    const RunSettings& lost = other.settings;
    const bool coarser =
        mine.group_size.value_or(0) >= lost.group_size.value_or(0);
    return lost.quant == "int8"
               ? mine.quant == "int4" || coarser
               : !lost.quant_8bit && !mine.quant_8bit && coarser;
  });
}

void Search::try_format(std::size_t index, std::vector<std::size_t>& alive) {
  if (!all_[index].dropped.empty()) {
    return;
  }
  if (!affords(kFormatsEnd * 0.8)) {
    drop(index, "no time was left to measure its quality");
    return;
  }
  if (loses_more_bits_already(index)) {
    drop(index, "more bits lose too much already");
    return;
  }
  judge_quality(index);
  if (all_[index].dropped.empty()) {
    alive.push_back(index);
  }
  report();
}

/// Parts at 8 bits are slower and larger than 4 bits throughout: they can win
/// only where those lose too much, or where quality counts most.
bool Search::mixed_may_win() const {
  return options_.goal == OptimizeGoal::quality ||
         std::none_of(all_.begin(), all_.end(), [](const auto& candidate) {
           return candidate.settings.quant == "int4" &&
                  !candidate.settings.quant_8bit && candidate.dropped.empty();
         });
}

std::size_t Search::best_format() {
  std::vector<std::size_t> alive = {0};
  // What the defaults lose is nothing; this is their perplexity.
  if (affords(kFormatsEnd / 2)) {
    all_[0].quality = measurer_.quality(all_[0].settings);
  }
  for (std::size_t i = 1; i < all_.size(); ++i) {
    if (!all_[i].settings.quant_8bit) {
      try_format(i, alive);
    }
  }
  const bool mixed = mixed_may_win();
  const std::size_t listed = all_.size();
  const bool found = mixed && find_mix(alive);
  for (std::size_t i = 1; i < listed; ++i) {
    if (all_[i].settings.quant_8bit && all_[i].dropped.empty()) {
      if (!mixed) {
        drop(i, "4 bits throughout are good enough");
      } else if (
          found && all_[i].bits_per_weight > all_.back().bits_per_weight) {
        drop(i, "fewer bits are good enough");
      } else {
        try_format(i, alive);
      }
    }
  }
  return race(std::move(alive), kFormatsEnd);
}

/// Measures the quality of a way that changes answers. False when it is out.
bool Search::judge_way(std::size_t index, double end) {
  if (options_.describe) {
    options_.describe(all_[index]);
  }
  if (!affords(end)) {
    all_[index].quality.reset();  // the base's isn't its own
    drop(index, "no time was left to measure its quality");
  } else {
    judge_quality(index);
  }
  report();
  return all_[index].dropped.empty();
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
    if (candidate.settings == base.settings) {
      continue;
    }
    const std::size_t index = all_.size();
    all_.push_back(std::move(candidate));
    if (!way.kv().any() || judge_way(index, end)) {
      alive.push_back(index);
    }
  }
  return race(std::move(alive), end);
}

/// Runs what is told only, each as long as an answer, until half of the duel's
/// time is left.
void Search::tell(std::size_t base_index) {
  constexpr double kEnd = (1 + kWaysEnd) / 2;
  const OptimizeCandidate base = all_[base_index];
  for (const RunSettings& way : options_.told) {
    if (!affords(kEnd)) {
      return;
    }
    OptimizeCandidate candidate;
    candidate.settings = combined(base.settings, way);
    candidate.predicted_bytes = base.predicted_bytes;
    candidate.predicted_seconds = base.predicted_seconds;
    candidate.bits_per_weight = base.bits_per_weight;
    candidate.told_only = true;
    const std::size_t index = all_.size();
    all_.push_back(std::move(candidate));
    if (sample(index, options_.work.decode_tokens)) {
      clear_samples(index);  // the first one after a load
      sample(index, options_.work.decode_tokens);
    }
    drop(index, "answers otherwise: told, not chosen");
  }
}

OptimizeResult optimize(
    std::vector<OptimizeCandidate> formats,
    const std::vector<std::vector<RunSettings>>& ways,
    OptimizeMeasurer& measurer,
    const OptimizeOptions& options) {
  return Search(measurer, options).run(std::move(formats), ways);
}

}  // namespace roofline
