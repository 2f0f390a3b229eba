// Which parts of a model need 8 bits where the rest has 4: each is tried alone
// over a few tokens, then as many are taken as the quality asks for, those
// first that gain most for their bits.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/plan/optimize_search.h"
#include "roofline/spec/tensor_parts.h"

namespace roofline {

namespace {

/// Of the budget: where probing ends, so that the mix found can be judged.
constexpr double kProbeEnd = 0.4;
constexpr int kRunsOfLayers = 8;
/// Gains don't add up exactly: so many mixes are judged at most.
constexpr int kMostMixes = 5;

bool is_plain_int4(const OptimizeCandidate& candidate) {
  return candidate.settings.quant == "int4" && !candidate.settings.quant_8bit;
}

std::string layers_text(int first, int last) {
  return first == last ? fmt::format("{}", first)
                       : fmt::format("{}-{}", first, last);
}

/// What a mix of the first `count` units gained of what they gained alone.
double gained_share(
    const std::vector<MixedUnit>& units,
    std::size_t count,
    const OptimizeCandidate& base,
    const OptimizeCandidate& mix) {
  double alone = 0;
  for (std::size_t i = 0; i < count; ++i) {
    alone += units[i].gain;
  }
  constexpr double kLeast = 0.05;
  const double together = base.quality->mean_kl - mix.quality->mean_kl;
  return alone > 0 ? std::max(kLeast, together / alone) : kLeast;
}

}  // namespace

std::vector<std::string> mixed_units(const PlannedModel& model) {
  // Those first that most often need it, for the time may not do for all.
  const auto layers = static_cast<int>(model.spec.layers.size());
  std::vector<std::string> units;
  for (const char* kind : {"v", "down", "embed", "o", "k", "q", "gate", "up"}) {
    const std::vector<std::string> parts = {kind};
    const bool any = std::any_of(
        model.tensors.begin(),
        model.tensors.end(),
        [&](const ModelTensor& tensor) {
          return tensor.rows > 1 &&
                 belongs_to_parts(tensor.name, layers, parts);
        });
    if (any) {
      units.emplace_back(kind);
    }
  }
  const int runs = std::min(kRunsOfLayers, layers);
  for (int run = 0; run < runs && runs > 1; ++run) {
    // From both ends inwards.
    const int place = run % 2 == 0 ? run / 2 : runs - 1 - run / 2;
    units.push_back(
        layers_text(place * layers / runs, (place + 1) * layers / runs - 1));
  }
  return units;
}

/// Of the 4-bit formats that were judged the one with the fewest bits (groups
/// that don't divide a row leave it at 16); 0: none was.
std::size_t Search::probed_base() const {
  std::size_t best = 0;
  for (std::size_t i = 1; i < all_.size(); ++i) {
    if (is_plain_int4(all_[i]) && all_[i].quality &&
        (best == 0 || all_[i].bits_per_weight < all_[best].bits_per_weight)) {
      best = i;
    }
  }
  return best;
}

OptimizeCandidate Search::with_units(
    const OptimizeCandidate& base,
    const std::vector<MixedUnit>& units,
    std::size_t count) const {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < count; ++i) {
    parts.push_back(units[i].part);
  }
  OptimizeCandidate candidate;
  candidate.settings = base.settings;
  candidate.settings.quant_8bit = fmt::format("{}", fmt::join(parts, ","));
  candidate.bits_per_weight = base.bits_per_weight;
  if (options_.describe) {
    options_.describe(candidate);
  }
  return candidate;
}

/// Those that gain, the most for their bits first.
std::vector<MixedUnit> Search::probe_units(const OptimizeCandidate& base) {
  std::vector<MixedUnit> units;
  const auto whole = measurer_.glance(base.settings);
  double cost = 0;
  for (const std::string& part : options_.mixed_units) {
    const double begin = measurer_.seconds();
    if (!whole || begin + cost > kProbeEnd * options_.budget_seconds) {
      break;
    }
    const OptimizeCandidate alone = with_units(base, {{part, 0, 0}}, 1);
    if (const auto quality = measurer_.glance(alone.settings)) {
      MixedUnit unit = {part, whole->mean_kl - quality->mean_kl, 0};
      unit.bits = alone.bits_per_weight - base.bits_per_weight;
      // Losses over the few tokens as a share of those over all.
      unit.gain *= base.quality->mean_kl / std::max(1e-9, whole->mean_kl);
      if (unit.gain > 0) {
        units.push_back(unit);
      }
    }
    cost = std::max(cost, measurer_.seconds() - begin);
    report();
  }
  std::stable_sort(
      units.begin(),
      units.end(),
      [](const MixedUnit& a, const MixedUnit& b) {
        return a.gain * b.bits > b.gain * a.bits;
      });
  return units;
}

/// How many of `units` should do when each gains `share` of what it gained
/// alone: for quality as many as fit, else as few as are good enough. At least
/// one.
std::size_t Search::enough_units(
    const std::vector<MixedUnit>& units,
    const OptimizeCandidate& base,
    double share) const {
  double loss = base.quality->mean_kl;
  for (std::size_t count = 1; count < units.size(); ++count) {
    loss -= share * units[count - 1].gain;
    const bool enough = options_.goal == OptimizeGoal::quality
                            ? !fits(with_units(base, units, count + 1))
                            : loss <= options_.most_kl;
    if (enough) {
      return count;
    }
  }
  return units.size();
}

/// Adds the mixes that were judged to the candidates, the last of them good
/// enough when it says true.
bool Search::find_mix(std::vector<std::size_t>& alive) {
  const std::size_t base_index = probed_base();
  if (base_index == 0 || options_.mixed_units.empty()) {
    return false;
  }
  const OptimizeCandidate base = all_[base_index];
  const auto units = probe_units(base);
  if (units.empty()) {
    return false;
  }
  std::size_t count = 0;
  double share = 1;
  for (int tried = 0; tried < kMostMixes && count < units.size(); ++tried) {
    if (!affords(kFormatsEnd * 0.9)) {
      return false;
    }
    count = std::max(count + 1, enough_units(units, base, share));
    const std::size_t index = all_.size();
    all_.push_back(with_units(base, units, count));
    if (!fits(all_[index])) {
      drop(index, "predicted to take more than --max-memory");
      return false;
    }
    judge_quality(index);
    report();
    if (all_[index].dropped.empty()) {
      alive.push_back(index);
      return true;
    }
    if (!all_[index].quality) {
      return false;
    }
    share = gained_share(units, count, base, all_[index]);
  }
  return false;
}

}  // namespace roofline
