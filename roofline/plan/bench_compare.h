// Two benchmarks of the same cases, before and after a change: which figures
// are slower or faster beyond what their spread explains.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "roofline/base/statistics.h"
#include "roofline/plan/bench.h"

namespace roofline {

enum class Change { same, faster, slower };

struct FigureChange {
  std::string name;   ///< case, engine and setup
  double before = 0;  ///< tokens a second, medians
  double after = 0;
  RatioInterval speed;  ///< after / before
  Change change = Change::same;
};

/// Figures that both lists have, in the order of `before`. One is slower when
/// the whole 95 % interval lies below 1 − tolerance, faster when it lies above
/// 1 + tolerance. Throws UserError when they have none in common.
std::vector<FigureChange> compare_figures(
    std::span<const BenchFigure> before,
    std::span<const BenchFigure> after,
    double tolerance);

}  // namespace roofline
