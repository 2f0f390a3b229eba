// The search behind optimize(): stages (formats, ways to run them) in
// optimize.cpp, races and the duel in optimize_race.cpp.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "roofline/base/statistics.h"
#include "roofline/plan/optimize.h"

namespace roofline {

/// Tokens of the answer that the first round runs; each later one doubles them.
inline constexpr int kFirstTokens = 8;

/// Shares of the budget at whose end a stage must be over; the duel has the
/// rest.
inline constexpr double kFormatsEnd = 0.5;
inline constexpr double kWaysEnd = 0.75;

/// What 8 bits for a part gain, and cost.
struct MixedUnit {
  std::string part;
  double gain = 0;  ///< nats a token
  double bits = 0;  ///< a weight, over all of the model
};

/// One search; see optimize().
class Search {
 public:
  Search(OptimizeMeasurer& measurer, const OptimizeOptions& options)
      : measurer_(measurer), options_(options) {}

  OptimizeResult run(
      std::vector<OptimizeCandidate> formats,
      const std::vector<std::vector<RunSettings>>& ways);

 private:
  std::size_t best_format();
  void try_format(std::size_t index, std::vector<std::size_t>& alive);
  bool mixed_may_win() const;
  std::size_t probed_base() const;
  bool find_mix(std::vector<std::size_t>& alive);
  std::vector<MixedUnit> probe_units(const OptimizeCandidate& base);
  std::size_t enough_units(
      const std::vector<MixedUnit>& units,
      const OptimizeCandidate& base,
      double share) const;
  OptimizeCandidate with_units(
      const OptimizeCandidate& base,
      const std::vector<MixedUnit>& units,
      std::size_t count) const;
  void judge_quality(std::size_t index);
  bool loses_more_bits_already(std::size_t index) const;
  bool judge_way(std::size_t index, double end);
  std::size_t best_way(
      std::size_t base,
      const std::vector<RunSettings>& ways,
      double end);
  void tell(std::size_t base_index);
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

}  // namespace roofline
