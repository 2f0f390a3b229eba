#include "roofline/plan/bench_compare.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

std::string full_name(const BenchFigure& figure) {
  std::string name = fmt::format("{}, {}", figure.what.name(), figure.engine);
  if (!figure.setup.empty()) {
    name += fmt::format(", {}", figure.setup);
  }
  return name;
}

Change change_of(const RatioInterval& speed, double tolerance) {
  if (speed.high < 1 - tolerance) {
    return Change::slower;
  }
  return speed.low > 1 + tolerance ? Change::faster : Change::same;
}

}  // namespace

std::vector<FigureChange> compare_figures(
    std::span<const BenchFigure> before,
    std::span<const BenchFigure> after,
    double tolerance) {
  std::vector<FigureChange> changes;
  for (const BenchFigure& old : before) {
    const std::string name = full_name(old);
    const auto now =
        std::find_if(after.begin(), after.end(), [&](const BenchFigure& other) {
          return full_name(other) == name;
        });
    if (now == after.end() || old.samples.empty() || now->samples.empty()) {
      continue;
    }
    const RatioInterval speed = ratio_of_medians(old.speeds(), now->speeds());
    changes.push_back(
        {name, old.speed(), now->speed(), speed, change_of(speed, tolerance)});
  }
  if (changes.empty()) {
    fail<UserError>(
        "There is nothing to compare",
        "The two benchmarks have no case in common",
        "Run both with the same -p, -n, -d, -b and configurations");
  }
  return changes;
}

}  // namespace roofline
